"""Merged weights against a decayed rate: losses at the same tokens, as a figure and a table.

    python experiments/merged.py [RESULTS] [--out FILE]

RESULTS is the results folder of experiments/merged.yaml; left out: results/reference/merged, whose figure is
drawn again. Points are means over seeds, bars their standard error.
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

REFERENCE = Path(__file__).parents[1] / "results" / "reference" / "merged"
CELL = ["width", "params", "tokens", "seed"]
KINDS = {
    "loss": "constant rate, last weights",
    "loss@ema0.99": "constant rate, EMA 0.99",
    "loss@merge20": "constant rate, last 20 % merged",
}


def excesses(runs: Any) -> Any:
    """Return what each way of ending loses over the decayed run of the same size, tokens and seed.

    Args:
        runs: rows of the study, both variants.

    Returns:
        A row for each size, horizon and kind: mean of log loss over the decayed run's, in percent, its
        standard error over seeds, and both losses.
    """
    cells = {name: part.set_index(CELL) for name, part in runs.groupby("variant")}
    decayed, constant = cells["decayed"]["loss"], cells["constant"]
    parts = []
    for kind in KINDS:
        pairs = pd.DataFrame({"loss": constant[kind], "decayed": decayed}).dropna()
        pairs["excess"] = 100 * np.log(pairs["loss"] / pairs["decayed"])
        grouped = pairs.groupby(["width", "params", "tokens"])
        means = grouped.mean().assign(error=grouped["excess"].sem(), kind=kind)
        parts.append(means.reset_index())
    return pd.concat(parts, ignore_index=True)


def draw(excess: Any) -> Figure:
    """Draw a panel for each size: the excess over the decayed run against training tokens."""
    colours = style.colours(list(KINDS.values()))
    sizes = list(excess.groupby("params"))
    with style.look():
        figure = style.canvas(2.9)
        panels = figure.subplots(1, len(sizes), sharey=True, squeeze=False)[0]
        for axes, (params, part) in zip(panels, sizes, strict=True):
            for kind, rows in part.groupby("kind", sort=False):
                name = KINDS[str(kind)]
                axes.errorbar(
                    rows["tokens"],
                    rows["excess"],
                    rows["error"],
                    marker="o",
                    ms=4,
                    color=colours[name],
                    label=name,
                )
            axes.axhline(0, color=style.INK, lw=0.8)
            style.log_x(axes, excess["tokens"], style.power)
            axes.set_title(f"N = {params / 1000:.0f}k", fontsize=9.5)
        panels[0].set_ylabel("Loss above the decayed run (%)")
        figure.supxlabel("Training tokens D", fontsize=9.5)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=8.5)
        return style.finish(figure)


def report(excess: Any) -> str:
    """Return the losses as a table of Markdown."""
    lines = ["| N | D | decayed | " + " | ".join(KINDS.values()) + " |", "| --- " * (3 + len(KINDS)) + "|"]
    for (params, tokens), part in excess.groupby(["params", "tokens"]):
        by_kind = part.set_index("kind")
        ends = [f"{by_kind.loc[kind, 'loss']:.4f} ({by_kind.loc[kind, 'excess']:+.2f} %)" for kind in KINDS]
        lines.append(
            f"| {params:,.0f} | {tokens:,.0f} | {part['decayed'].iloc[0]:.4f} | {' | '.join(ends)} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("results", nargs="?", type=Path, default=REFERENCE)
    parser.add_argument("--out", type=Path, help="left out: merged.png in RESULTS")
    given = parser.parse_args()
    out = given.out or given.results / "merged.png"
    excess = excesses(analysis.load(given.results / "runs.csv"))
    draw(excess).savefig(out, dpi=150, metadata={"Software": None})
    print(report(excess))
    print(f"\ndrawn: {out}")


if __name__ == "__main__":
    main()
