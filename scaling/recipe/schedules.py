"""What a schedule is: its fields, with durations in them (a spec's) or steps (a run's), and its rates.

To add one: a class here and its entry in :data:`SCHEDULES`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, get_origin

from pydantic import Field, TypeAdapter, model_validator
from typing_extensions import TypeVar

from scaling.recipe.quantities import Described, Duration, Fraction
from scaling.recipe.rules import Scales, any_of
from scaling.recipe.written import DurationOrRule, checked, with_numbers, with_rules

if TYPE_CHECKING:
    import numpy as np

Length = TypeVar("Length", default=int)  # Duration in a spec; in a run, steps
Shape = Literal["linear", "1-sqrt", "cosine"]


def _written(text: str) -> Any:
    """Declare a default of a spec; a run has steps and no defaults."""
    return Field(default=Duration.parse(text), validate_default=True)


class Schedule(Described, Generic[Length]):
    """What all schedules have: a linear warmup to the peak, and what comes after :meth:`decay_start`.

    Methods but :meth:`resolved` are those of a run's schedule, whose lengths are steps.
    """

    lengths: ClassVar[dict[str, str]] = {"warmup": "warmup_steps"}
    """Fields that are durations -> what they are called in the JSON of a run, where they are steps."""
    shares_trunk: ClassVar[bool] = False
    """Whether rates before the decay are the same for every horizon, so that runs can share these steps."""

    kind: str
    warmup: Length = _written("80 steps")
    """Linear from 0. In percent: of the run's own horizon."""

    @model_validator(mode="before")
    @classmethod
    def _from_run(cls, value: Any) -> Any:
        """Take the names of a run's JSON where lengths are steps."""
        in_spec = get_origin(cls.model_fields["warmup"].annotation) is not None  # a duration or a rule
        if not isinstance(value, dict) or in_spec:
            return value
        names = {in_run: name for name, in_run in cls.lengths.items()}
        return {names.get(name, name): item for name, item in value.items()}

    def json_fields(self) -> dict[str, Any]:
        """Return the fields by their names in the JSON of a run."""
        return {self.lengths.get(name, name): value for name, value in self}

    def resolved(self, steps: int, warmup_horizon: int, scales: Scales) -> Schedule:
        """Return the run's schedule: durations made steps.

        Args:
            steps: the run's horizon.
            warmup_horizon: the horizon that a warmup in percent refers to.
            scales: quantities of the run, its tokens of a step among them.

        Raises:
            RuleError: a rule gives a number that its field cannot have.
        """
        fields = with_numbers(self, scales)
        for name in self.lengths:
            horizon = warmup_horizon if name == "warmup" else steps
            fields[name] = fields[name].in_steps(horizon, scales["batch_tokens"])
        return checked(_RUN_SCHEDULE, fields)

    def steps_needed(self: Schedule) -> int:
        """Return the steps of the shortest horizon that has room for warmup and decay."""
        return sum(getattr(self, name) for name in self.lengths)

    def decay_start(self: Schedule, steps: int) -> int:
        """Return the first step (0-based) whose rate depends on more than the warmup."""
        raise NotImplementedError

    def decayed(self: Schedule, step: np.ndarray, steps: int) -> np.ndarray:
        """Return the rates from :meth:`decay_start` on, over the peak (elsewhere any finite number)."""
        raise NotImplementedError

    def branch_step(self: Schedule, steps: int) -> int:
        """Return the steps before the rate depends on the horizon (0: from the start)."""
        return self.decay_start(steps) if self.shares_trunk else 0

    def rates(self: Schedule, peak: float, steps: int, first: int, count: int) -> np.ndarray:
        """Return the rates of steps ``first .. first + count - 1`` (0-based), float32 of shape (count,).

        Warmup is linear to the peak at the last warmup step. Before the branch step a value depends on the
        peak and the warmup alone, so that runs of one trunk see the same bits.

        Args:
            peak: the learning rate.
            steps: the run's horizon.
            first: the first step asked for.
            count: how many.
        """
        import numpy as np

        step = np.arange(first, first + count, dtype=np.float64)
        factor = np.minimum(1.0, (step + 1) / self.warmup) if self.warmup else np.ones_like(step)
        factor = np.where(step < self.decay_start(steps), factor, factor * self.decayed(step, steps))
        return (peak * factor).astype(np.float32)


class WSD(Schedule[Length], Generic[Length]):
    """Warmup, stable, decay (arXiv:2404.06395). Runs that differ only in horizon share their stable part."""

    lengths: ClassVar[dict[str, str]] = {"warmup": "warmup_steps", "decay": "decay_steps"}
    shares_trunk = True

    kind: Literal["wsd"]
    warmup: Length = _written("80 steps")
    """Linear from 0. In percent: of the shortest fitted horizon of that size, so that runs can share it; of a
    held-out run, and where the learning rate depends on the horizon: of the run's own."""
    decay: Length = _written("20 %")
    """Down to 0 at the end. In percent: of the run's own horizon."""
    shape: Shape = "1-sqrt"
    """Shape of the decay."""

    def decay_start(self: WSD, steps: int) -> int:
        return steps - self.decay

    def decayed(self: WSD, step: np.ndarray, steps: int) -> np.ndarray:
        """Take the shape's values at 1/(n+1) .. n/(n+1) over n steps: neither the peak again nor a wasted
        step at 0."""
        return _falling(self.shape, (step - self.decay_start(steps) + 1) / (self.decay + 1))


class _WholeHorizon(Schedule[Length], Generic[Length]):
    """Warmup, then a fall over the whole horizon to a fraction of the peak."""

    fall: ClassVar[Shape]
    final_fraction: Fraction

    def decay_start(self: _WholeHorizon, steps: int) -> int:
        return self.warmup

    def decayed(self: _WholeHorizon, step: np.ndarray, steps: int) -> np.ndarray:
        done = (step - self.warmup + 1) / max(steps - self.warmup, 1)
        return self.final_fraction + (1 - self.final_fraction) * _falling(self.fall, done)


class Cosine(_WholeHorizon[Length], Generic[Length]):
    """Warmup, then half a cosine over the whole horizon. Nothing can be shared between horizons."""

    fall = "cosine"

    kind: Literal["cosine"]
    final_fraction: Fraction = 0.1
    """Rate at the last step over the peak rate."""


class Linear(_WholeHorizon[Length], Generic[Length]):
    """Warmup, then a line over the whole horizon. Nothing can be shared between horizons."""

    fall = "linear"

    kind: Literal["linear"]
    final_fraction: Fraction = 0.0
    """Rate at the last step over the peak rate."""


class Constant(Schedule[Length], Generic[Length]):
    """Warmup, then the peak rate to the end."""

    shares_trunk = True

    kind: Literal["constant"]

    def decay_start(self: Constant, steps: int) -> int:
        return steps

    def decayed(self: Constant, step: np.ndarray, steps: int) -> np.ndarray:
        return step  # no step is after the end


def _falling(shape: Shape, done: np.ndarray) -> np.ndarray:
    """Fall from 1 at ``done`` = 0 to 0 at 1."""
    import numpy as np

    done = np.clip(done, 0.0, 1.0)
    match shape:
        case "linear":
            return 1 - done
        case "1-sqrt":  # Hägele et al., arXiv:2405.18392, equation 2
            return 1 - np.sqrt(done)
        case "cosine":
            return 0.5 * (1 + np.cos(np.pi * done))


SCHEDULES: dict[str, type[Schedule[Any]]] = {
    "wsd": WSD,
    "cosine": Cosine,
    "linear": Linear,
    "constant": Constant,
}

_GENERIC: dict[str, Any] = {**SCHEDULES}
WRITTEN_SCHEDULES = {kind: with_rules(model[DurationOrRule]) for kind, model in _GENERIC.items()}

if TYPE_CHECKING:
    WrittenSchedule = Schedule[Duration]
    RunSchedule = Schedule
else:
    WrittenSchedule = any_of(*WRITTEN_SCHEDULES.values())
    RunSchedule = any_of(*SCHEDULES.values())

_RUN_SCHEDULE: TypeAdapter[Schedule] = TypeAdapter(RunSchedule)
