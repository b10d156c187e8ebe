"""Bits per byte against compute for several vocabularies, from the tables of their studies.

    python experiments/vocabulary/figure.py [RESULTS ...] [--out FILE]

RESULTS are results folders, one a tokenizer; the others are measured by the first. Left out: those of
results/reference/vocabulary, whose figure is drawn again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import analysis
from analysis.figures import style
from analysis.fits.result import Fit

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "vocabulary"
NAMES = ("bytes", "bpe-1k", "bpe-4k")
TARGET = "bits_per_byte"


@dataclass(frozen=True)
class Vocabulary:
    """A study with one tokenizer: its runs, and a law of their bits per byte."""

    name: str
    runs: Any  # a DataFrame
    fit: Fit

    @classmethod
    def load(cls, folder: Path) -> Vocabulary:
        runs: Any = analysis.load(folder / "runs.csv")
        return cls(runs["tokenizer"].iloc[0], runs, analysis.fit("chinchilla", runs, target=TARGET))

    @property
    def best(self) -> Any:
        """The best fitted run of each budget."""
        fitted: Any = self.runs[self.runs["role"] == "fit"]
        return fitted.loc[fitted.groupby("budget")[TARGET].idxmin()]

    def at_best(self, compute: np.ndarray) -> Any:
        return self.fit.optimal(compute)


def worth(vocabulary: Vocabulary, reference: Vocabulary, compute: float) -> float:
    """Return how many times ``compute`` the reference needs for what the vocabulary reaches with it, by the
    laws; inf where that is more than any of its runs had."""
    wanted = vocabulary.at_best(np.array([compute]))["loss"].iloc[0]
    grid = np.geomspace(compute / 100, max(compute, reference.runs["flops"].max()), 400)
    reached = reference.at_best(grid)["loss"].to_numpy()
    return float(np.interp(-wanted, -reached, grid / compute, right=np.inf))


def draw(vocabularies: Sequence[Vocabulary]) -> Figure:
    """Draw all runs faintly, the best of each budget, the law at its best N and D, and the held-out run."""
    colours = style.colours([v.name for v in vocabularies])
    every = pd.concat([v.runs for v in vocabularies])
    with style.look():
        figure = style.canvas(4.0)
        axes = figure.add_subplot()
        for v in vocabularies:
            colour, budgets = colours[v.name], v.best
            fitted, held_out = (v.runs[v.runs["role"] == role] for role in ("fit", "holdout"))
            axes.plot(fitted["flops"], fitted[TARGET], "o", ms=3, color=colour, alpha=0.3, mew=0)
            axes.plot(budgets["flops"], budgets[TARGET], "o", ms=6, color=colour, mec="white", label=v.name)
            axes.plot(held_out["flops"], held_out[TARGET], "D", ms=6, mfc="white", color=colour)
            if v.fit.usable:
                compute = np.geomspace(fitted["flops"].min(), every["flops"].max(), 60)
                law, inside = v.at_best(compute), compute <= fitted["flops"].max() * 1.001
                axes.fill_between(compute, law["low"], law["high"], color=colour, alpha=0.12, lw=0)
                axes.plot(compute[inside], law["loss"][inside], color=colour, lw=1.4)
                axes.plot(compute[~inside], law["loss"][~inside], "--", color=colour, lw=1.4)
        axes.plot([], [], "D", ms=6, mfc="white", color=style.INK, label="held out")
        style.log_x(axes, every["flops"], style.power)
        style.log_loss(axes, every[TARGET])
        axes.set(xlabel="Training compute C (FLOPs)", ylabel="Bits per byte of held-out text")
        axes.legend()
        return style.finish(figure)


def report(vocabularies: Sequence[Vocabulary]) -> str:
    """Return the best run of each budget, and the held-out one, as a table of Markdown."""
    reference = vocabularies[0]
    lines = [
        f"| tokenizer | C | width | N | bits per byte | C of {reference.name} for that, by the laws |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for v in vocabularies:
        runs: Any = pd.concat([v.best, v.runs[v.runs["role"] == "holdout"]])
        for run in runs.itertuples():
            width, more = f"{run.width}", "-"
            if run.role == "holdout":
                width += ", held out"
            elif v is not reference and v.fit.usable and reference.fit.usable:
                times = worth(v, reference, run.flops)
                most = reference.runs["flops"].max() / run.flops
                more = f"{times:.1f} x" if np.isfinite(times) else f"above {most:.0f} x"
            cells = (
                v.name,
                f"{run.flops:.2g}",
                width,
                f"{run.params:,.0f}",
                f"{run.bits_per_byte:.3f}",
                more,
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("results", nargs="*", type=Path, default=[REFERENCE / name for name in NAMES])
    parser.add_argument("--out", type=Path, default=REFERENCE / "bits_per_byte.png")
    given = parser.parse_args()
    vocabularies = [Vocabulary.load(folder) for folder in given.results]
    given.out.parent.mkdir(parents=True, exist_ok=True)
    draw(vocabularies).savefig(given.out, dpi=150, metadata={"Software": None})
    print(report(vocabularies))
    print(f"\ndrawn: {given.out}")


if __name__ == "__main__":
    main()
