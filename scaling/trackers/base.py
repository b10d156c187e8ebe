"""What trackers are told of a run, and what each of them does."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Protocol

from scaling.canonical import canonical_json
from scaling.plan.plan import Plan, PlannedRun
from scaling.store.records import Record

Scalar = str | int | float | bool
NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._=@+-]")
# of a record's result: what a run's configuration has too, and what is no number or text
BESIDES = {"params", "steps", "eval_id", "document_losses", "set_losses", "source_tokens", "source_epochs"}
BESIDES |= {"average_losses", "columns", "flags"}
EXECUTION = {"tokens_per_second", "mfu", "wall_seconds", "peak_memory_bytes", "device", "git_commit"}


@dataclass(frozen=True)
class TrackedRun:
    """A run as trackers know it. ``config`` is the resolved run, nested as in run.json."""

    run_id: str
    label: str
    role: str
    tags: tuple[str, ...]
    config: dict[str, Any]

    @classmethod
    def of(cls, plan: Plan, planned: PlannedRun) -> TrackedRun:
        named = {"study": plan.study, "role": planned.role, "variant": planned.variant}
        named = {name: value for name, value in named.items() if value is not None}
        config = {**named, "label": planned.label, "run_id": planned.run_id, "params": planned.params}
        config |= json.loads(canonical_json(planned.run))
        return cls(planned.run_id, planned.label, planned.role, tuple(named.values()), config)

    @property
    def name(self) -> str:
        """A name that is this run's alone, and can be that of a folder."""
        return f"{NOT_IN_NAMES.sub('_', self.label)[:100]}-{self.run_id}"

    @property
    def settings(self) -> dict[str, Scalar]:
        """The configuration, flat: ``optimizer.learning_rate``."""
        return flat(self.config)


def flat(value: dict[str, Any], before: str = "") -> dict[str, Scalar]:
    """Return the members of an object under dotted names; lists as text, without what is None."""
    members = dict[str, Scalar]()
    for name, item in value.items():
        match item:
            case dict():
                members |= flat(item, f"{before}{name}.")
            case list():
                members[f"{before}{name}"] = json.dumps(item)
            case None:
                pass
            case _:
                members[f"{before}{name}"] = item
    return members


def summary_of(record: Record) -> dict[str, Scalar]:
    """Return how a run ended, under the names of the table of results."""
    result = record.result
    named = {**(result.columns or {}), **result.families, **result.model_dump(mode="json", exclude=BESIDES)}
    return flat(named) | flat(record.execution.model_dump(mode="json", include=EXECUTION))


def numbers(summary: dict[str, Scalar]) -> dict[str, float]:
    return {name: float(value) for name, value in summary.items() if not isinstance(value, str | bool)}


class Curve(Protocol):
    """A run in a tracker, open for writing.

    ``last`` is the last step that the tracker holds of it, -1 where it holds none, None where it cannot tell.
    """

    @property
    def last(self) -> int | None: ...

    def log(self, step: int, values: dict[str, float]) -> None:
        """Send the values of a step, which is later than all before."""
        ...

    def drop(self) -> bool:
        """Drop all steps, to be sent again: the run continues from an earlier one. Return False where they
        would then stand there twice."""
        ...

    def flush(self) -> None: ...

    def end(self, summary: dict[str, Scalar]) -> None:
        """Send how the run ended, and close it."""
        ...

    def close(self) -> None:
        """Close a run that is not at its end."""
        ...


class Tracker(Protocol):
    """A library, connected. ``destination`` is what tells where it sends to, ``where`` says so to people once
    a run is open.

    Its methods raise whatever the library raises.
    """

    destination: dict[str, str]

    @property
    def where(self) -> str: ...

    def open(self, run: TrackedRun) -> Curve: ...
