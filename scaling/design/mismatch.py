"""What speaks against training the family of a study beside the runs of a table."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.fits.summary import count, number
from scaling.data.index import DataIndex
from scaling.errors import UserError
from scaling.plan.expand import make_plan
from scaling.plan.offers import Offer
from scaling.plan.plan import PlannedRun
from scaling.plan.repetition import AS_NEW, NEARLY, WORTH, read_more, times_text
from scaling.spec.models import Study
from scaling.spec.sections import Data

TOLD = ("tokenizer", "vocab_size", "eval_id")  # columns that say of what a loss is


@dataclass(frozen=True)
class Ground:
    """What runs of a family are trained on: entries of the vocabulary, and tokens before text repeats."""

    vocab_size: int
    tokens: float

    @classmethod
    def of(cls, index: DataIndex) -> Ground:
        return cls(index.vocab_size, float(index.tokens_once))

    @classmethod
    def planned(cls, data: Data, runs: Iterable[PlannedRun]) -> Ground | None:
        """Of runs that were planned on ``data``, by what is planned; None: none of the built-in trainer was,
        as all change these data, or they are of several texts."""
        asked = data.context, data.unique_tokens
        alike = {
            run.run.data_key: run for run in runs if not run.is_external and run.run.data_key[1:] == asked
        }
        if len(alike) != 1:
            return None
        (run,) = alike.values()
        return cls(run.built_in.shape.vocab_size, run.run.tokens / run.epochs)

    def repeated(self, chosen: Sequence[Offer]) -> Iterator[str]:
        """Say how many of the chosen runs read their text more than once."""
        again = [offer for offer in chosen if offer.tokens > self.tokens]
        if again:
            worst = max(again, key=lambda offer: offer.tokens)
            times = worst.tokens / self.tokens
            worth = WORTH if times > AS_NEW else NEARLY
            yield (
                f"{read_more(len(again), len(chosen), 1)}, {worst.label} {times_text(times)} times "
                f"({count(worst.tokens)} of {count(self.tokens)} tokens): {worth}; take a larger corpus, or "
                "a smaller --budget"
            )


def mismatches(study: Study, index: DataIndex, runs: pd.DataFrame) -> Iterator[str]:
    """Say where the runs of a table (columns N, D, C, L) are not like those of a study."""
    yield from _other_loss(index, runs)
    yield from _unchecked(index, runs)
    try:
        plan = make_plan(study, index)
    except UserError:  # its own cells are chosen later, or are no plan yet
        return
    places = [(run.params, run.run.tokens, run.flops) for run in plan.with_roles(("fit",))]
    apart = list[str]()
    for name, own in zip("NDC", zip(*places, strict=True), strict=False):
        there = runs[name].to_numpy(float)
        if max(own) < there.min() or min(own) > there.max():
            apart.append(f"{name} {_range(name, own)} beside {_range(name, there)}")
    if apart:
        yield (
            f"no run of {study.study} is like one of the table: {', '.join(apart)}; give the study that the "
            "table is of, or one of such sizes and horizons"
        )


def _other_loss(index: DataIndex, runs: pd.DataFrame) -> Iterator[str]:
    """Say where losses are of another kind than the study's: tokens, evaluation text, magnitude."""
    named = {
        "tokenizer": (index.tokenizer.name, "losses for each token are not alike"),
        "vocab_size": (index.vocab_size, "losses for each token are not alike"),
        "eval_id": (index.eval_id, "losses are over another text"),
    }
    for column, (own, why) in named.items():
        found = set[Any]() if column not in runs.columns else {*runs[column].dropna()}
        if found and found != {own}:
            others = ", ".join(map(str, sorted(found - {own}, key=str)))
            yield f"runs of the table have {column} {others}, this study {own}: {why}, and no law joins them"
            return
    losses, guessing = runs["L"].to_numpy(float), math.log(index.vocab_size)
    if losses.max() > guessing:
        yield (
            f"the table has a loss of {number(losses.max())}, where guessing among the {index.vocab_size} "
            f"tokens of this study has {guessing:.3g}: it is of other tokens, or in another unit (--unit)"
        )
    if index.floor is not None and losses.min() < index.floor:
        yield (
            f"the table has a loss of {number(losses.min())}, and the text of this study an entropy of "
            f"{index.floor:.4g}, below which no loss of it lies: it is of another text"
        )


def _unchecked(index: DataIndex, runs: pd.DataFrame) -> Iterator[str]:
    """Say that a table does not tell of which tokens and text its losses are."""
    if not any(column in runs.columns and runs[column].notna().any() for column in TOLD):
        yield (
            f"the table has no {', '.join(TOLD[:-1])} or {TOLD[-1]}: whether its losses are of the tokens "
            f"and the text of this study ({index.tokenizer.name}) cannot be checked"
        )


def _range(name: str, values: Any) -> str:
    ends = min(values), max(values)
    return " to ".join(dict.fromkeys(f"{end:.3g}" if name == "C" else count(end) for end in ends))
