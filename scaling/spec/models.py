"""What a user writes. These models are the one source of truth: checks, defaults and JSON schema.

They hold what a field alone can tell; what needs two sections is in :mod:`scaling.spec.check`, what needs
FLOPs or data is in :mod:`scaling.plan`. Field docs become the descriptions of the JSON schema.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    PrivateAttr,
    StrictBool,
    Tag,
)
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticCustomError

from scaling.spec.base import Seeds, Slug, Strict
from scaling.spec.designs import Design, Holdout, Noise
from scaling.spec.families import Family
from scaling.spec.quantities import Count, Duration, Fraction, Positive, Real
from scaling.spec.source import Source


class Data(Strict):
    """Which text, cut into which tokens, and what is held out of training for evaluation."""

    corpus: Slug
    """Name of a corpus."""
    tokenizer: Slug = "bytes"
    """`bytes`: every byte is a token."""
    context: Count
    """Tokens of context of every training and evaluation sequence."""
    eval_documents: Count = 24
    """Documents held out of training, spread over the corpus; losses are kept per document."""
    eval_tokens: Count = 131072
    """Tokens to evaluate on, at least; the held-out documents must have them."""


class PowerRule(Strict):
    """value = coefficient x of^exponent."""

    kind: Literal["power"]
    of: Literal["width", "depth", "params", "params_body", "tokens"]
    """What it scales with. With `tokens` (the run's horizon) runs of one size differ and share no trunk."""
    coefficient: Positive
    exponent: Annotated[Real, Field(ge=-10, le=10)]


def _rule_or_number(value: Any) -> str:
    return "power" if isinstance(value, dict | PowerRule) else "number"


NumberOrRule = Annotated[
    Annotated[Positive, Tag("number")] | Annotated[PowerRule, Tag("power")], Discriminator(_rule_or_number)
]


class AdamW(Strict):
    """AdamW (arXiv:1711.05101); weight decay acts on matrices only."""

    kind: Literal["adamw"]
    learning_rate: NumberOrRule
    """Peak rate: a number, or a rule such as {kind: power, of: width, coefficient: 0.2, exponent: -1}."""
    weight_decay: Annotated[Real, Field(ge=0)] = 0.1
    """Multiplies the learning rate."""
    b1: Annotated[Real, Field(ge=0, lt=1)] = 0.9
    b2: Annotated[Real, Field(ge=0, lt=1)] = 0.95
    eps: Positive = 1e-8
    clip_norm: Positive = 1.0
    """Gradients with a larger global norm are scaled down to it."""


class WSD(Strict):
    """Warmup, stable, decay (arXiv:2404.06395). Runs that differ only in horizon share their stable part."""

    kind: Literal["wsd"]
    warmup: Duration = Duration(80, "steps")
    """Linear from 0. In percent: of the shortest fitted horizon of that size, so that runs can share it."""
    decay: Duration = Duration(20, "%")
    """Down to 0 at the end. In percent: of the run's own horizon."""
    shape: Literal["linear", "1-sqrt", "cosine"] = "1-sqrt"
    """Shape of the decay."""


class Cosine(Strict):
    """Warmup, then half a cosine over the whole horizon. Nothing can be shared between horizons."""

    kind: Literal["cosine"]
    warmup: Duration = Duration(80, "steps")
    """Linear from 0. In percent: of the shortest fitted horizon of that size."""
    final_fraction: Fraction = 0.1
    """Rate at the last step over the peak rate."""


class Linear(Strict):
    """Warmup, then a line over the whole horizon. Nothing can be shared between horizons."""

    kind: Literal["linear"]
    warmup: Duration = Duration(80, "steps")
    """Linear from 0. In percent: of the shortest fitted horizon of that size."""
    final_fraction: Fraction = 0.0
    """Rate at the last step over the peak rate."""


class Constant(Strict):
    """Warmup, then the peak rate to the end."""

    kind: Literal["constant"]
    warmup: Duration = Duration(80, "steps")
    """Linear from 0. In percent: of the shortest fitted horizon of that size."""


class Recipe(Strict):
    """How every run is trained."""

    optimizer: AdamW
    schedule: Annotated[WSD | Cosine | Linear | Constant, Field(discriminator="kind")]
    batch_tokens: Count
    """Tokens a step; a multiple of data.context."""
    precision: Literal["float32"] = "float32"


def _auto_or_count(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 10_000):
        return value
    raise PydanticCustomError("spec", "must be auto or a whole number from 1 to 10000")


class Execution(Strict):
    """How the work is done. Nothing here changes a run's numbers or its id."""

    kind: Slug = "local"
    """Where jobs run. local: processes of this machine."""
    workers: Annotated[Literal["auto"] | int, BeforeValidator(_auto_or_count)] = "auto"
    """Processes that train at the same time. auto: one a core on CPU, one on an accelerator."""
    device: Literal["auto", "cpu", "gpu", "tpu"] = "auto"
    """What to train on. auto: an accelerator where there is one."""
    threads: Count = 1
    """Threads of each process, on CPU."""
    share_trunk: StrictBool = True
    """Train what runs have in common only once."""
    checkpoint_seconds: Positive = 30.0
    """Seconds between checkpoints of a job."""
    chunk_steps: Count | None = None
    """Optimizer steps of one compiled call; also how often metrics are written. Left out: by model size."""
    keep_final: StrictBool = False
    """Keep the last checkpoint of every run, so that it can be evaluated again (--reevaluate)."""
    lease_seconds: Annotated[Real, Field(ge=0.5, le=3600)] = 30.0
    """Seconds for which a job's lease must stand still before another driver takes the job over."""
    timeout_minutes: Positive = 60.0
    """Minutes without progress (compiling counts) after which a job is killed and counted as failed."""
    attempts: Count = 3
    """Failures in a row, without getting further, after which a run is left alone."""


class Study(Strict):
    """A scaling-law study: a family of models, data, a recipe and a design of runs."""

    study: Slug
    """Name of the study and of its results folder."""
    data: Data
    family: Family
    recipe: Recipe
    design: Design
    seeds: Seeds = (0,)
    """Every fitted run is trained with each of these seeds."""
    noise: Noise | None = None
    """Repetitions of one cell (role noise); fits leave them out."""
    holdout: Annotated[tuple[Holdout, ...], Field(max_length=1000)] = ()
    """Runs to forecast (role holdout); fits leave them out."""
    execution: Execution = Execution()

    _source: Source = PrivateAttr(default_factory=Source)

    @property
    def source(self) -> Source:
        """Where each field was written; empty for a study built in Python."""
        return self._source


class _Schema(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        return str(dft) if isinstance(dft, Duration) else super().encode_default(dft)


def json_schema() -> dict[str, Any]:
    """JSON schema of a spec, for editors."""
    schema = Study.model_json_schema(schema_generator=_Schema)
    return {"$schema": _Schema.schema_dialect, **schema}
