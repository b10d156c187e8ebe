"""Three trainers on one small study: their losses cell by cell, and the laws fitted to each.

    python experiments/external/compare.py [FOLDER]

FOLDER holds ``builtin``, ``torch`` and ``jax``, each with a runs.csv; left out: results/reference/external,
whose figure is drawn again.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

import analysis
from analysis.figures import style
from analysis.fits.result import Fit

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "external"
NAMES = {"builtin": "built-in", "torch": "PyTorch", "jax": "plain JAX"}
SHOWN = {"alpha": r"$\alpha$", "beta": r"$\beta$", "a": r"$a$ in $N^* \propto C^a$"}


@dataclass(frozen=True)
class Study:
    """The runs of one trainer, the law of those of role ``fit``, and the forecast of the held-out run."""

    name: str
    runs: Any
    law: Fit

    @classmethod
    def of(cls, folder: Path) -> Study:
        runs: Any = analysis.load(folder / "runs.csv")
        return cls(NAMES[folder.name], runs, analysis.fit("chinchilla", runs, where="role == 'fit'"))

    @property
    def fitted(self) -> Any:
        return self.runs[self.runs["role"] == "fit"].sort_values(["budget", "params"])

    @property
    def held_out(self) -> Any:
        return self.runs[self.runs["role"] == "holdout"].iloc[0]

    @property
    def forecast(self) -> Any:
        """The forecast of the held-out run, with its interval."""
        run = self.held_out
        return self.law.predict(N=run["params"], D=run["tokens"]).frame.iloc[0]

    @property
    def losses(self) -> Any:
        return self.runs.set_index(["params", "tokens"])["loss"].sort_index()


def draw(studies: list[Study]) -> Figure:
    """Draw losses against parameters at each budget, the exponents of the laws, and the held-out run."""
    colours = style.colours([study.name for study in studies])
    with style.look():
        figure = style.canvas(3.2)
        curves, *panels = figure.subplots(1, 5, width_ratios=[3, 1, 1, 1, 1])
        for place, study in enumerate(studies):
            colour = colours[study.name]
            for number, (_, part) in enumerate(study.fitted.groupby("budget")):
                label = study.name if number == 0 else None
                curves.plot(part["params"], part["loss"], marker="o", ms=3.5, lw=1, color=colour, label=label)
            for axes, name in zip(panels, SHOWN, strict=False):
                value, ends = study.law.estimates()[name]
                _bar(axes, place, value, ends.low, ends.high, colour)
            said = study.forecast
            _bar(panels[-1], place, said["forecast"], said["new_low"], said["new_high"], colour)
            panels[-1].plot([place], [study.held_out["loss"]], "x", ms=6, color=style.INK, zorder=3)
        style.log_x(curves, studies[0].fitted["params"], style.power)
        curves.set_xlabel("Parameters N")
        curves.set_ylabel("Held-out loss (nats per byte)")
        for axes, title in zip(panels, [*SHOWN.values(), "forecast, ×"], strict=True):
            axes.set_title(title, fontsize=9.5)
            axes.set_xticks([])
            axes.set_xlim(-0.6, len(studies) - 0.4)
        figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8.5)
        return style.finish(figure)


def _bar(axes: Any, place: int, value: float, low: float, high: float, colour: Any) -> None:
    axes.errorbar([place], [value], [[value - low], [high - value]], fmt="o", ms=4, color=colour)


def report(studies: list[Study]) -> str:
    """Return losses and laws as tables of Markdown."""
    losses = pd.concat({study.name: study.losses for study in studies}, axis=1)
    lines = [f"| N | D | {' | '.join(losses)} |", "| --- " * (2 + len(studies)) + "|"]
    for (params, tokens), row in losses.iterrows():
        lines.append(f"| {params:,.0f} | {tokens:,.0f} | {' | '.join(f'{loss:.4f}' for loss in row)} |")
    lines += ["", "| | E | alpha | beta | a | forecast | measured |", "| --- " * 7 + "|"]
    for study in studies:
        known = study.law.estimates()
        cells = [_cell(*known[name]) for name in ("E", *SHOWN)]
        said, measured = study.forecast, study.held_out["loss"]
        ahead = f"{said['forecast']:.3f} [{said['new_low']:.3f}, {said['new_high']:.3f}]"
        lines.append(f"| {study.name} | {' | '.join(cells)} | {ahead} | {measured:.3f} |")
    first, *others = studies
    for study in others:
        off = 100 * np.log(losses[study.name] / losses[first.name])
        error = off.std() / len(off) ** 0.5
        lines.append(f"\n{study.name}: {off.mean():+.2f} ± {error:.2f} % of the loss above {first.name}")
    return "\n".join(lines)


def _cell(value: float, ends: Any) -> str:
    return f"{value:.2f} [{ends.low:.2f}, {ends.high:.2f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=REFERENCE)
    given = parser.parse_args()
    studies = [Study.of(given.folder / name) for name in NAMES]
    out = given.folder / "external.png"
    draw(studies).savefig(out, dpi=150, metadata={"Software": None})
    print(report(studies))
    print(f"\ndrawn: {out}")


if __name__ == "__main__":
    main()
