"""Fits to sources whose law is known: fitted E against the true entropy, exponents against the oracle's.

    python experiments/known-answer/compare.py [RESULTS ...] [--out FOLDER]

RESULTS are results folders of studies of generated corpora. Left out: those of
results/reference/known-answer, whose table and figure are made again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from pydantic import TypeAdapter
from ruamel.yaml import YAML
from scipy.optimize import brentq

import analysis
from analysis.figures import style
from analysis.fits.result import Fit
from analysis.fits.summary import count
from scaling.corpora.generated import GeneratedCorpus
from scaling.corpora.santa_fe import SantaFe
from scaling.corpora.sources import WrittenGenerated

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "known-answer"
ENOUGH = 1e18  # tokens after which an ideal learner knows all that it can hold


@dataclass(frozen=True)
class Study:
    """A study of one source: its runs, the law of the source, and what was fitted to the runs."""

    name: str
    corpus: GeneratedCorpus
    context: int
    runs: Any  # a DataFrame

    @classmethod
    def load(cls, folder: Path) -> Study:
        data = YAML(typ="safe").load(folder / "study.yaml")["data"]
        corpus = TypeAdapter(WrittenGenerated).validate_python(data["corpus"])
        return cls(corpus.kind, corpus, data["context"], analysis.load(folder / "runs.csv"))

    @cached_property
    def entropy(self) -> float:
        return self.corpus.entropy(self.context)

    @cached_property
    def free(self) -> Fit:
        return analysis.fit("chinchilla", self.runs)

    @cached_property
    def told(self) -> Fit:
        """The same law, told the true E."""
        return analysis.fit("chinchilla", self.runs, fixed={"E": self.entropy})

    @property
    def fitted(self) -> Any:
        return self.runs[self.runs["role"] == "fit"]


def ideal(study: Study) -> Any:
    """Return the fitted runs as an ideal learner would have done them, a DataFrame.

    ``facts`` that it holds and ``seen`` tokens are such that each alone costs it what the term of N, or of D,
    in the law told E says; its ``loss`` is exact. None for sources without an exact oracle.
    """
    corpus, law, runs = study.corpus, study.told.solution, study.fitted.copy()
    if not isinstance(corpus, SantaFe) or not law:
        return None

    def facts_for(excess: float) -> float:
        return _inverse(lambda k: corpus.oracle(ENOUGH, study.context, k) - study.entropy, excess, 2.0**31)

    def tokens_for(excess: float) -> float:
        return _inverse(lambda d: corpus.oracle(d, study.context) - study.entropy, excess, ENOUGH)

    runs["facts"] = [facts_for(excess) for excess in law["A"] * runs["params"] ** -law["alpha"]]
    runs["seen"] = [tokens_for(excess) for excess in law["B"] * runs["tokens"] ** -law["beta"]]
    pairs = zip(runs["seen"], runs["facts"], strict=True)
    runs["loss"] = [corpus.oracle(seen, study.context, facts) for seen, facts in pairs]
    return runs


def _inverse(function: Callable[[float], float], value: float, most: float) -> float:
    """Return where a falling function of a positive number has a value."""
    root: Any = brentq(lambda x: function(np.exp(x)) - value, 0, np.log(most))
    return float(np.exp(root))


def oracle_exponents(study: Study, learner: Any) -> dict[str, float]:
    """Return by which powers of facts held and of tokens seen the ideal learner's loss falls there."""
    law, runs = study.told.solution, study.fitted

    def slope(exponent: float, ours: Any, theirs: Any) -> float:
        return float(exponent * np.log(ours.max() / ours.min()) / np.log(theirs.max() / theirs.min()))

    return {
        "alpha": slope(law["alpha"], runs["params"], learner["facts"]),
        "beta": slope(law["beta"], runs["tokens"], learner["seen"]),
    }


def report(studies: Sequence[Study]) -> str:
    """Return a table of Markdown: true values beside fitted ones with their 90 % intervals."""
    lines = [
        "| source | quantity | true | fitted | 90 % interval | verdict | fitted, E given | 90 % interval |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for study in studies:
        learner = ideal(study)
        true = {"E": study.entropy} | ({} if learner is None else oracle_exponents(study, learner))
        for name in ("E", "alpha", "beta"):
            cells = [study.name, name, f"{true[name]:.4f}" if name in true else "-"]
            for fit in (study.free, study.told):
                if name in fit.fixed:
                    continue
                value, interval = fit.estimates()[name]
                cells += [f"{value:.4f}", f"{interval.low:.4f} to {interval.high:.4f}"]
                if fit is study.free:
                    cells.append(fit.identified[name].verdict)
            lines.append("| " + " | ".join(cells + ["-"] * (8 - len(cells))) + " |")
    lines.append("")
    for study in studies:
        least: Any = study.runs.loc[study.runs["loss"].idxmin()]
        off, above = study.free.solution["E"] / study.entropy - 1, least["loss"] - study.entropy
        windows = int(least["eval_tokens"]) // study.context
        sample = study.corpus.nats(study.corpus.evaluation_windows(windows, study.context)).mean()
        lines += [
            f"- {study.name}: E is off by {off:+.2%}. The least loss is {above:.4f} above the entropy.",
            f"  On the windows evaluated, who knows the law loses {sample - study.entropy:+.4f} from it.",
        ]
        if (learner := ideal(study)) is not None:
            off = analysis.fit("chinchilla", learner).solution["E"] / study.entropy - 1
            lines.append(f"  Fitted to the exact losses of a matched ideal learner, E is off by {off:+.2%}.")
    return "\n".join(lines)


def draw(studies: Sequence[Study]) -> Figure:
    """Draw loss above the true entropy against tokens, a line a size: the law told E, and the oracle."""
    with style.look():
        figure = style.canvas(3.4)
        shades = style.Shades(studies[0].fitted["width"])
        for i, study in enumerate(studies):
            axes = figure.add_subplot(1, len(studies), i + 1)
            tokens = np.geomspace(study.fitted["tokens"].min(), study.fitted["tokens"].max(), 40)
            for width, rows in study.fitted.groupby("width"):
                colour, size = shades(width), rows["params"].iloc[0]
                axes.plot(rows["tokens"], rows["loss"] - study.entropy, "o", ms=4, color=colour)
                law = study.told.solution
                if law:
                    excess = law["A"] * size ** -law["alpha"] + law["B"] * tokens ** -law["beta"]
                    axes.plot(tokens, excess, color=colour, lw=1)
            if isinstance(study.corpus, SantaFe):
                ideal = [study.corpus.oracle(d, study.context) - study.entropy for d in tokens]
                axes.plot(tokens, ideal, "--", color=style.INK, label="ideal learner")
                axes.legend()
            style.log_x(axes, study.fitted["tokens"], count)
            axes.set(yscale="log", title=study.name, xlabel="Training tokens D")
            axes.set_ylabel("" if i else "Loss above the true entropy (nats)")
        shades.explain(figure, figure.axes, "Width", count)
        return style.finish(figure)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, help="folder of the table and the figure")
    arguments = parser.parse_args()
    folders = arguments.results or sorted(p.parent for p in REFERENCE.glob("*/runs.csv"))
    out = arguments.out or (REFERENCE if not arguments.results else Path())
    studies = [Study.load(folder) for folder in folders]
    table = report(studies)
    out.mkdir(parents=True, exist_ok=True)
    (out / "comparison.md").write_text(table + "\n")
    draw(studies).savefig(out / "comparison.png", dpi=150)
    print(table)


if __name__ == "__main__":
    main()
