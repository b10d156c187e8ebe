"""Where the best learning rate is as the width or the depth grows, under each parametrization of a study.

    python experiments/lr-transfer/figure.py [RESULTS] [--out FILE]

RESULTS is the results folder of width.yaml or depth.yaml; left out: the committed ones. Optima are those of
`scaling basins`: quadratics of log loss in the log rate through the runs near the best of each size.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import analysis
from analysis.figures import style
from analysis.hyperparameters.basins import Basins, find

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "lr-transfer"
# relative loss above the best that a quadratic sees: about five rates of a grid of factors of 2
WINDOW = 0.05


def optima(runs: Any, size: str) -> dict[str, Basins]:
    """Find the best rate of each size in each variant of a study.

    Args:
        runs: rows of the study.
        size: the column that grows, width or depth.
    """
    return {
        str(variant): find(part, batch=None, by=(size,), lr_on=(size,), window=WINDOW)
        for variant, part in runs.groupby("variant", sort=False)
    }


def exponent(basins: Basins, size: str) -> tuple[float, float, float]:
    """Return the power of the best rate in the size and the ends of its interval, shown even where it is too
    wide for a claim: what counts is whether it holds 0."""
    value, (low, high) = basins.lr.estimates()[f"e_{size}"]
    return -value, -high, -low


def draw(runs: Any, found: dict[str, Basins], size: str) -> Figure:
    """Draw a panel for each variant, loss against rate at each size, and one of all optima against the size.

    Args:
        runs: rows of the study.
        found: of :func:`optima`.
        size: the column that grows.
    """
    with style.look():
        figure = style.canvas(2.9)
        *panels, last = figure.subplots(1, len(found) + 1, squeeze=False)[0]
        shades = style.Shades(runs[size].to_numpy(float))
        for axes, (variant, basins) in zip(panels, found.items(), strict=True):
            axes.sharey(panels[0])
            _losses(axes, runs[runs["variant"] == variant], basins, size, shades)
            axes.set_title(variant, fontsize=9.5)
        panels[0].set_ylabel("Loss (nats per token)")
        shades.explain(figure, panels, size.capitalize(), "{:g}".format)
        colours = style.colours(list(found))
        for variant, basins in found.items():
            _law(last, basins, size, colours[variant], variant)
        style.log_x(last, runs[size], "{:g}".format)
        style.log_y(last, runs["learning_rate"], 2.5, 1.0, "{:g}".format)
        last.set(xlabel=size.capitalize(), ylabel=r"Best learning rate $\eta^*$")
        title = f"Exponent, {next(iter(found.values())).lr.level:.0%}"
        last.legend(loc="lower left", fontsize=7.5, title=title, handlelength=1.2)
        return style.finish(figure)


def _losses(axes: Axes, runs: Any, basins: Basins, size: str, shades: style.Shades) -> None:
    means = runs.groupby([size, "learning_rate"])["loss"].mean()
    for value, losses in means.groupby(level=0):
        rates = losses.index.get_level_values(1)
        axes.plot(rates, losses, "o-", ms=3, lw=1.0, color=shades(value))
    for cell in basins.cells.to_dict("records"):
        if cell["verdict"] == "interior":
            axes.plot(cell["lr"], cell["loss"], "*", ms=8, color=style.ACCENT, mec="white", mew=0.5, zorder=5)
    style.log_x(axes, runs["learning_rate"], "{:g}".format)
    axes.set(xlabel=r"Learning rate $\eta$", ylim=(0.98 * means.min(), 1.25 * means.min()))


def _law(axes: Axes, basins: Any, size: str, colour: Any, variant: str) -> None:
    """Draw optima with their standard errors, and the power law through them with its interval."""
    inside = basins.cells["verdict"] == "interior"
    for chosen, face in ((inside, colour), (~inside, "white")):
        cells = basins.cells[chosen & basins.cells["lr"].notna()]
        error = cells["lr"] * np.expm1(cells["lr_se"].fillna(0))
        axes.errorbar(cells[size], cells["lr"], error, fmt="o", ms=4, color=colour, mfc=face, elinewidth=0.8)
    law, (power, low, high) = basins.lr, exponent(basins, size)
    line = np.geomspace(basins.cells[size].min(), basins.cells[size].max(), 50)
    drawn = law.predict({size: line}).frame
    label = f"{variant} {power:.2f} [{low:.2f}, {high:.2f}]"
    axes.plot(line, drawn["loss"], color=colour, lw=1.2, label=label)
    axes.fill_between(line, drawn["low"], drawn["high"], color=colour, alpha=0.15, lw=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("results", nargs="*", type=Path, default=[REFERENCE / "width", REFERENCE / "depth"])
    parser.add_argument("--out", type=Path, help="left out: lr-transfer.png in RESULTS")
    given = parser.parse_args()
    for results in given.results:
        out = given.out or results / "lr-transfer.png"
        runs: Any = analysis.load(results / "runs.csv", cells="all")
        size = "width" if runs["width"].nunique() > 1 else "depth"
        found = optima(runs, size)
        draw(runs, found, size).savefig(out, dpi=150, metadata={"Software": None})
        for variant, basins in found.items():
            power, low, high = exponent(basins, size)
            level = basins.lr.level
            print(f"{variant}: best rate ~ {size}^{power:.3f}, {level:.0%} interval [{low:.3f}, {high:.3f}]")
        print(f"drawn: {out}")


if __name__ == "__main__":
    main()
