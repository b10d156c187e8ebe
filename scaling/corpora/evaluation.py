"""How text is held out of training and evaluated, as a spec writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from scaling.corpora.content import HELD_OUT
from scaling.corpora.documents import WrittenDocuments
from scaling.recipe.quantities import Count, Described, Duration, Fraction, Real, Slug, Whole
from scaling.recipe.rules import any_of


def _auto_or_share(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1):
        return value
    raise PydanticCustomError("spec", "must be auto or a fraction between 0 and 1")


SNAPSHOTS = 10  # of a merge: its name says how many where there are others


class LogSpaced(Described):
    """So many evaluations of a run, evenly in the logarithm of its steps."""

    log: Annotated[Whole, Field(ge=2, le=10_000)]
    """About how many, the end included; from the first chunk of steps on."""

    def __str__(self) -> str:
        return f"{{log: {self.log}}}"


def _some(value: Duration | LogSpaced) -> Duration | LogSpaced:
    if isinstance(value, Duration) and value.value <= 0:
        raise PydanticCustomError("spec", "must be more than 0")
    return value


def _apart(value: Any) -> Any:
    if isinstance(value, str | Duration):
        return value
    raise PydanticCustomError("spec", "must be '5 %', '1000 steps', '1e6 tokens' or {log: 10}")


Every = Annotated[
    Annotated[Duration, BeforeValidator(_apart), Tag("duration")] | Annotated[LogSpaced, Tag("log")],
    Discriminator(lambda value: "log" if isinstance(value, dict | LogSpaced) else "duration"),
    AfterValidator(_some),
]


class EMA(Described):
    """An exponential average of the weights over all steps, debiased (arXiv:1412.6980, section 3)."""

    kind: Literal["ema"]
    decay: Annotated[Real, Field(gt=0, lt=1)]
    """Weight of a step over that of the step after it."""

    @property
    def name(self) -> str:
        return f"ema{self.decay:.12g}"


class Merge(Described):
    """The mean of snapshots of the weights over the end of a run (arXiv:2507.17634): of a constant rate, what
    a linear decay over that span would do."""

    kind: Literal["merge"]
    span: Annotated[Duration, AfterValidator(_some)]
    """The last part of the run: `20 %` of its own horizon, `1000 steps` or `1e6 tokens`."""
    snapshots: Annotated[Whole, Field(ge=2, le=1000)] = SNAPSHOTS
    """How many: one at the end of each of as many equal parts of the span."""

    @property
    def name(self) -> str:
        unit = "" if self.span.unit == "%" else self.span.unit
        number = "" if self.snapshots == SNAPSHOTS else f"x{self.snapshots}"
        return f"merge{self.span.value:.12g}{unit}{number}"


if TYPE_CHECKING:
    WrittenAverage = EMA | Merge
else:
    WrittenAverage = any_of(EMA, Merge)


class Evaluation(Described):
    """What is held out of training, and which losses are measured on it."""

    documents: Count = 24
    """Documents held out whole, at least; losses are kept per document. `split: spread`: just as many."""
    tokens: Count = 131072
    """Tokens to evaluate on, at least; the held-out documents must have them."""
    split: Literal["auto", "hash", "spread", "none"] = "auto"
    """hash: by hash of a document's content, so that adding files keeps the split. spread: evenly over the
    corpus (in memory). none: nothing; `target` names a set of its own. auto: spread for a shipped corpus."""
    share: Annotated[Literal["auto"] | Real, BeforeValidator(_auto_or_share)] = "auto"
    """Share of documents that `split: hash` holds out. auto: the smallest, to four bits, that has enough."""
    sets: dict[Slug, WrittenDocuments] = Field(default={}, max_length=100)
    """Evaluation texts of their own, by name: each gives a column loss/NAME."""
    target: Slug = HELD_OUT
    """The set whose loss is `loss`: held-out, or the name of one of `sets`."""
    overlap: Fraction = 0.05
    """Largest share of the evaluated 13-grams of words that may occur in the training text."""
    every: Every | None = None
    """Evaluate along the way too: `5 %` of a run's own horizon, `1000 steps`, `1e6 tokens` or `{log: 10}`, at
    the nearest ends of chunks of steps. Left out: at the end alone."""
    averages: Annotated[tuple[WrittenAverage, ...], Field(max_length=20)] = ()
    """Averages of the weights that are evaluated beside them: columns loss@NAME."""
