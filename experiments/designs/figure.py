"""The cells of every design of this folder, a panel each, from their plans alone.

    python experiments/designs/figure.py [--out FILE]

Full: decided before any result; hollow: foreseen for designs that grow, as the assumed law would have them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.errors import plural
from analysis.figures import style
from analysis.figures.design import CHINCHILLA, RAY
from analysis.fits.summary import count
from scaling.design.choosing import choose
from scaling.design.foreseen import drawn
from scaling.design.wish import Asked
from scaling.plan.expand import plan_study
from scaling.spec.load import load_study

HERE = Path(__file__).parent
COLUMNS = 4
# role, marker, size in points^2
MARKS = (("trunk", "v", 16), ("fit", "o", 16), ("noise", "s", 60), ("holdout", "*", 90))


def specs() -> list[Path]:
    """The specs of this folder."""
    return sorted(HERE.glob("*.yaml"))


def cells(spec: Path) -> pd.DataFrame:
    """The runs of a spec as a figure of its design draws them, ``foreseen`` where results decide of them."""
    study = choose(load_study(spec))
    return drawn(study, plan_study(study), Asked())


def draw(of: list[Path]) -> Figure:
    """Draw N against D of each spec, all on the same axes and in the same colours of C."""
    designs = {spec.stem: cells(spec) for spec in of}
    every: Any = pd.concat(designs.values())
    rows = -(-len(designs) // COLUMNS)
    with style.look():
        figure = style.canvas(2.0 * rows, width=8.6)
        grid: Any = figure.subplots(rows, COLUMNS, sharex=True, sharey=True)
        panels: list[Axes] = list(grid.flat)
        shades = style.Shades(every["flops"])
        style.log_x(panels[0], every["tokens"], count)
        style.log_y(panels[0], every["params"], 1.5, 1.5)
        for ax, (name, runs) in zip(panels, designs.items(), strict=False):
            _panel(ax, runs, shades)
            ax.set_title(name)
        for ax, above in zip(panels[len(designs) :], panels[len(designs) - COLUMNS :], strict=False):
            ax.set_axis_off()
            above.tick_params(labelbottom=True)
        panels[-1].legend(handles=_legend(), loc="center left", borderaxespad=0)
        shades.explain(figure, panels, "$C$ (FLOPs)", style.power)
        figure.supxlabel("Training tokens $D$")
        figure.supylabel("Parameters $N$ (total)")
        return style.finish(figure)


def _panel(ax: Axes, runs: Any, shades: style.Shades) -> None:
    left, right = ax.get_xlim()
    ax.plot([left, right], [left / CHINCHILLA, right / CHINCHILLA], "--", color=style.MUTED, lw=0.8, zorder=1)
    for role, marker, size in MARKS:
        for is_foreseen, of in runs[runs["role"] == role].groupby("foreseen"):
            colours = [style.ACCENT if role == "holdout" else shades(c) for c in of["flops"]]
            ax.scatter(
                of["tokens"], of["params"], size, marker=marker, linewidths=1.0, edgecolors=colours,
                facecolors="none" if is_foreseen or role == "noise" else colours,
                zorder=3,
            )  # fmt: skip
    fitted = runs[runs["role"] == "fit"]
    ax.text(0.04, 0.95, plural(len(fitted), "run"), transform=ax.transAxes, va="top", fontsize=style.small())


def _legend() -> list[Line2D]:
    alike: dict[str, Any] = {"color": style.INK, "lw": 0}
    return [
        Line2D([], [], marker="o", ms=4, label="fitted", **alike),
        Line2D([], [], marker="o", ms=4, mfc="none", label="fitted, foreseen", **alike),
        Line2D([], [], marker="v", ms=4, label="branched from", **alike),
        Line2D([], [], marker="s", ms=7.7, mfc="none", label="other seeds", **alike),
        Line2D([], [], marker="*", ms=9.5, label="held out", **alike | {"color": style.ACCENT}),
        Line2D([], [], ls="--", lw=0.8, color=style.MUTED, label=RAY),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "docs" / "images" / "designs.png")
    given = parser.parse_args()
    draw(specs()).savefig(given.out, dpi=150, metadata={"Software": None})
    print(f"drawn: {given.out}")


if __name__ == "__main__":
    main()
