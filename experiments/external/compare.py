"""Three trainers on one small study: their losses cell by cell, and the laws fitted to each.

    python experiments/external/compare.py [FOLDER]

FOLDER holds ``builtin``, ``torch`` and ``jax``, each with a runs.csv; left out: results/reference/external,
whose figure is drawn again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import analysis
from analysis.figures import style
from analysis.fits.result import Fit

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "external"
NAMES = {"builtin": "built-in (JAX, Flax)", "torch": "train_torch.py", "jax": "train_jax.py (plain JAX)"}
SHOWN = ("E", "alpha", "beta", "a")


def fit(folder: Path) -> tuple[Any, Fit]:
    """Return the table of a study and the law of its runs of role ``fit``."""
    table = analysis.load(folder / "runs.csv")
    return table.frame, analysis.fit("chinchilla", table, where="role == 'fit'")


def draw(tables: dict[str, Any], fits: dict[str, Fit]) -> Figure:
    """Draw losses against parameters at each budget, and the parameters of the laws with their intervals."""
    colours = style.colours(list(NAMES))
    with style.look():
        figure = style.canvas(3.2)
        grid = figure.subplots(1, 1 + len(SHOWN), width_ratios=[3, *[1] * len(SHOWN)])
        for place, (name, table) in enumerate(tables.items()):
            fitted = table[table["role"] == "fit"]
            for number, (_, part) in enumerate(fitted.groupby("budget")):
                part = part.sort_values("params")
                label = NAMES[name] if number == 0 else None
                grid[0].plot(
                    part["params"], part["loss"], marker="o", ms=3.5, lw=1, color=colours[name], label=label
                )
            for axes, parameter in zip(grid[1:], SHOWN, strict=True):
                value, interval = fits[name].estimates()[parameter]
                low, high = interval.low, interval.high
                axes.errorbar(
                    [place], [value], [[value - low], [high - value]], fmt="o", ms=4, color=colours[name]
                )
        style.log_x(grid[0], fitted["params"], style.power)
        grid[0].set_xlabel("Parameters N")
        grid[0].set_ylabel("Held-out loss (nats per byte)")
        for axes, parameter in zip(grid[1:], SHOWN, strict=True):
            axes.set_title(parameter, fontsize=9.5)
            axes.set_xticks([])
            axes.set_xlim(-0.6, len(tables) - 0.4)
        figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8.5)
        return style.finish(figure)


def report(tables: dict[str, Any], fits: dict[str, Fit]) -> str:
    """Return losses and laws as tables of Markdown."""
    keys = ["params", "tokens"]
    losses = pd.concat({name: table.set_index(keys)["loss"] for name, table in tables.items()}, axis=1)
    lines = [
        "| N | D | " + " | ".join(NAMES[name] for name in tables) + " |",
        "| --- " * (2 + len(tables)) + "|",
    ]
    for (params, tokens), row in losses.iterrows():
        lines.append(f"| {params:,} | {tokens:,} | " + " | ".join(f"{loss:.4f}" for loss in row) + " |")
    lines += ["", "| | E | alpha | beta | a (N* ~ C^a) | rms residual |", "| --- " * 6 + "|"]
    for name, of in fits.items():
        cells = [
            f"{value:.3g} [{ends.low:.3g}, {ends.high:.3g}]" for value, ends in map(of.estimates().get, SHOWN)
        ]
        rms = 100 * float(np.sqrt(np.mean(np.square(of.residuals))))
        lines.append(f"| {NAMES[name]} | {' | '.join(cells)} | {rms:.2f} % |")
    logs = np.log(losses)
    for name in list(tables)[1:]:
        difference = 100 * (logs[name] - logs["builtin"])
        error = difference.std() / len(difference) ** 0.5
        lines.append(
            f"\n{NAMES[name]} against the built-in trainer, mean over {len(difference)} cells: "
            f"{difference.mean():+.2f} ± {error:.2f} % of the loss"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=REFERENCE)
    given = parser.parse_args()
    found = {name: fit(given.folder / name) for name in NAMES if (given.folder / name / "runs.csv").exists()}
    tables = {name: table for name, (table, _) in found.items()}
    fits = {name: of for name, (_, of) in found.items()}
    out = given.folder / "external.png"
    draw(tables, fits).savefig(out, dpi=150, metadata={"Software": None})
    print(report(tables, fits))
    print(f"\ndrawn: {out}")


if __name__ == "__main__":
    main()
