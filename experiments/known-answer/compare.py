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


def oracle_exponents(study: Study) -> dict[str, float]:
    """Return the slopes of the oracle's excess where it is what the two terms of the law (told E) are in
    these runs: against facts held, and against tokens. Empty for sources without an exact oracle."""
    corpus, law = study.corpus, study.told.solution
    if not isinstance(corpus, SantaFe) or not law:
        return {}

    def of_facts(facts: float) -> float:
        return corpus.oracle(ENOUGH, study.context, facts=facts) - study.entropy

    def of_tokens(tokens: float) -> float:
        return corpus.oracle(tokens, study.context) - study.entropy

    terms: dict[str, tuple[Callable[[float], float], Any, float]] = {
        "alpha": (of_facts, law["A"] * study.fitted["params"] ** -law["alpha"], 2.0**corpus.levels),
        "beta": (of_tokens, law["B"] * study.fitted["tokens"] ** -law["beta"], ENOUGH),
    }
    slopes = {}
    for name, (excess, seen, most) in terms.items():
        ends = []
        for wanted in (seen.max(), seen.min()):
            root: Any = brentq(lambda x, y=wanted, f=excess: f(np.exp(x)) - y, 0, np.log(most))
            ends.append(root)
        slopes[name] = float(np.log(seen.max() / seen.min())) / (ends[1] - ends[0])
    return slopes


def report(studies: Sequence[Study]) -> str:
    """Return a table of Markdown: true values beside fitted ones with their 90 % intervals."""
    lines = [
        "| source | quantity | true | fitted | 90 % interval | verdict | fitted, E given | 90 % interval |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for study in studies:
        true = {"E": study.entropy} | oracle_exponents(study)
        for name in ("E", "alpha", "beta"):
            cells = [study.name, name, f"{true[name]:.4g}" if name in true else "-"]
            for fit in (study.free, study.told):
                if name in fit.fixed:
                    continue
                value, interval = fit.estimates()[name]
                cells += [f"{value:.4g}", f"{interval.low:.4g} to {interval.high:.4g}"]
                if fit is study.free:
                    cells.append(fit.identified[name].verdict)
            lines.append("| " + " | ".join(cells + ["-"] * (8 - len(cells))) + " |")
    lines.append("")
    for study in studies:
        least: Any = study.runs.loc[study.runs["loss"].idxmin()]
        above, error = least["loss"] - study.entropy, least["loss_se_eval"]
        off = study.free.solution["E"] / study.entropy - 1
        lines.append(
            f"{study.name}: E is off by {off:+.2%}; least loss {above:+.4f} +- {error:.4f} from the truth"
        )
    return "\n".join(lines)


def draw(studies: Sequence[Study]) -> Figure:
    """Draw loss above the true entropy against tokens, a line a size: the law told E, and the oracle."""
    with style.look():
        figure = style.canvas(3.4)
        for i, study in enumerate(studies):
            axes = figure.add_subplot(1, len(studies), i + 1)
            shades = style.Shades(study.fitted["params"])
            tokens = np.geomspace(study.fitted["tokens"].min(), study.fitted["tokens"].max(), 40)
            for size in shades.levels:
                colour = shades(size)
                rows = study.fitted[study.fitted["params"] == size].sort_values("tokens")
                axes.plot(rows["tokens"], rows["loss"] - study.entropy, "o", ms=4, color=colour)
                law = study.told.solution
                if law:
                    excess = law["A"] * size ** -law["alpha"] + law["B"] * tokens ** -law["beta"]
                    axes.plot(tokens, excess, color=colour, lw=1)
            if isinstance(study.corpus, SantaFe):
                ideal = [study.corpus.oracle(d, study.context) - study.entropy for d in tokens]
                axes.plot(tokens, ideal, "--", color=style.INK, label="ideal learner")
                axes.legend()
            axes.set(xscale="log", yscale="log", title=study.name, xlabel="Training tokens D")
            axes.set_ylabel("" if i else "Loss above the true entropy (nats)")
            shades.explain(figure, axes, "Parameters N")
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
