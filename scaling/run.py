"""A run: one training, fully resolved, and its identity. Of the built-in trainer, or of somebody's own.

``run_id`` is a hash of the canonical JSON of all that changes the numbers. It does not cover device,
paths, executor, cadence, packing or sharing. ``SEMANTICS`` is raised when the numerics of training change
meaning, so that old and new results are never taken for one another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import Field

from scaling.canonical import hash_of_plain, plain, short_hash
from scaling.counts.external import ExternalSize
from scaling.counts.flops import Flops, training_flops
from scaling.counts.params import KnownCounts, count_parameters
from scaling.counts.shape import Shape
from scaling.recipe.auxiliary import Auxiliary
from scaling.recipe.optimizers import RunOptimizer
from scaling.recipe.parametrization import Parametrization
from scaling.recipe.precision import Precision
from scaling.recipe.quantities import Frozen
from scaling.recipe.schedules import RunSchedule

if TYPE_CHECKING:
    import numpy as np

SEMANTICS = 1
DataKey = tuple[str, int, int | None]  # fingerprint, context, unique tokens


class Data(Frozen):
    """Which tokens: ``fingerprint`` covers the text, the tokenizer and the split of train and evaluation;
    ``unique_tokens`` is the part of them that is repeated, None for all."""

    kind: Literal["corpus"] = "corpus"
    corpus: str
    tokenizer: str
    fingerprint: str
    unique_tokens: int | None = Field(default=None, json_schema_extra={"neutral": None})


@dataclass(frozen=True, kw_only=True)
class Fixed:
    """What of a run its compiled program depends on, and so its speed; the rest are the program's
    arguments."""

    shape: Shape
    optimizer: tuple[tuple[str, Any], ...]
    precision: Precision
    parametrization: Parametrization | None = None
    auxiliary: Auxiliary | None = None
    batch_sequences: int


class _Training(Frozen):
    """What all runs have: so many steps on batches of so many sequences, from a seed."""

    batch_sequences: int
    steps: int
    seed: int
    """Of the initial weights, and of the order of data unless ``order`` is another one."""
    order: int | None = Field(default=None, json_schema_extra={"neutral": None})

    @property
    def context(self) -> int:
        """Tokens of a sequence."""
        raise NotImplementedError

    def flops(self) -> Flops:
        """Return the FLOPs of the run, as if trained alone."""
        raise NotImplementedError

    @property
    def order_seed(self) -> int:
        """The seed of the order of data."""
        return self.seed if self.order is None else self.order

    @property
    def batch_tokens(self) -> int:
        return self.batch_sequences * self.context

    @property
    def tokens(self) -> int:
        return self.steps * self.batch_tokens

    @property
    def flops_per_step(self) -> int:
        return self.flops().flops // self.steps


class Run(_Training):
    """One training, fully resolved: no rules, no ``auto`` left."""

    kind: Literal["run"] = "run"
    semantics: int = SEMANTICS
    shape: Shape
    data: Data
    optimizer: RunOptimizer
    schedule: RunSchedule
    precision: Precision = "float32"
    parametrization: Parametrization | None = Field(default=None, json_schema_extra={"neutral": None})
    """None: the standard one."""
    auxiliary: Auxiliary | None = Field(default=None, json_schema_extra={"neutral": None})
    """Losses beside the cross-entropy; None where there are none."""
    init_from: str | None = Field(default=None, json_schema_extra={"neutral": None})
    """Initial weights instead of those that ``seed`` draws: another run's by its id, or the ``sha256:...`` of
    :func:`scaling.store.weights.identity`."""

    @property
    def fixed(self) -> Fixed:
        return Fixed(
            shape=self.shape,
            optimizer=self.optimizer.structure,
            precision=self.precision,
            parametrization=self.parametrization,
            auxiliary=self.auxiliary,
            batch_sequences=self.batch_sequences,
        )

    @property
    def learning_rate(self) -> float:
        """The peak."""
        return self.optimizer.learning_rate

    @property
    def parametrization_kind(self) -> str:
        return self.parametrization.kind if self.parametrization else "standard"

    @property
    def context(self) -> int:
        return self.shape.context

    @property
    def counts(self) -> KnownCounts:
        """Parameters of the model."""
        return count_parameters(self.shape)

    def flops(self) -> Flops:
        return training_flops(self.shape, self.steps * self.batch_sequences)

    @property
    def data_key(self) -> DataKey:
        """What tells its data from others of the same plan."""
        return self.data.fingerprint, self.context, self.data.unique_tokens

    @property
    def branch_step(self) -> int:
        """Steps before the run's learning rate depends on its horizon (0: from the start)."""
        return self.schedule.branch_step(self.steps)

    @property
    def decay_steps(self) -> int:
        """Steps whose rate depends on more than peak and warmup."""
        return self.steps - self.schedule.decay_start(self.steps)

    def learning_rates(self, first: int, count: int) -> np.ndarray:
        """Return the rates of steps ``first .. first + count - 1`` (0-based), float32 of shape (count,)."""
        return self.schedule.rates(self.optimizer.learning_rate, self.steps, first, count)


class ExternalData(Frozen):
    """Data that somebody's own trainer reads: how many tokens there are, and a name for them."""

    kind: Literal["external"] = "external"
    tokens: int
    name: str | None = Field(default=None, json_schema_extra={"neutral": None})

    @property
    def fingerprint(self) -> str:
        return short_hash({"kind": "external data", "tokens": self.tokens, "name": self.name})


class TrainerVersion(Frozen):
    """Which trainer: a command, by the version that its owner gives it, however it is started."""

    kind: Literal["command"] = "command"
    version: int | str


class ExternalRun(_Training):
    """One training by somebody's own trainer. ``recipe`` are the fields of the spec's recipe with numbers for
    rules, plain JSON; the batch stands beside it."""

    kind: Literal["external"] = "external"
    trainer: TrainerVersion
    size: ExternalSize
    data: ExternalData
    recipe: dict[str, Any]

    @property
    def context(self) -> int:
        return self.size.context

    @property
    def counts(self) -> KnownCounts:
        return self.size.counts

    def flops(self) -> Flops:
        return self.size.training_flops(self.tokens)

    @property
    def data_key(self) -> DataKey:
        return self.data.fingerprint, self.context, None

    @property
    def learning_rate(self) -> float | None:
        """The peak; None: the recipe does not have it by this name."""
        return self.recipe.get("learning_rate")

    def kind_of(self, field: str) -> str | None:
        """Return what a field of the recipe is, where that is a name or a mapping with a kind."""
        value = self.recipe.get(field)
        kind = cast(dict[str, Any], value).get("kind") if isinstance(value, dict) else value
        return kind if isinstance(kind, str) else None

    @property
    def branch_step(self) -> int:
        """0: nothing is known of what runs of one size have in common."""
        return 0


AnyRun = Annotated[Run | ExternalRun, Field(discriminator="kind")]


def run_id(run: Run | ExternalRun) -> str:
    return short_hash(run)


def trunk_id(run: Run | ExternalRun) -> str:
    """Return an id that is equal for runs that are the same training up to the smaller of their branch steps.

    A run that shares no trunk is its own.
    """
    if isinstance(run, ExternalRun) or not run.schedule.shares_trunk:
        return run_id(run)
    return _trunk_hash(run, plain(run))


def ids_of(run: Run | ExternalRun) -> tuple[str, str]:
    """Return :func:`run_id` and :func:`trunk_id`, of a run that is made plain once."""
    values = plain(run)
    whole = hash_of_plain(values)
    if isinstance(run, ExternalRun) or not run.schedule.shares_trunk:
        return whole, whole
    return whole, _trunk_hash(run, values)


def _trunk_hash(run: Run, values: dict[str, Any]) -> str:
    part = {name: value for name, value in values.items() if name != "steps"}
    part["schedule"] = {"kind": "trunk", "warmup_steps": run.schedule.warmup}
    return hash_of_plain({"kind": "trunk", "run": part})
