"""What a user asks of a batch system: the fields of an allocation."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from scaling.recipe.quantities import Count, Described
from scaling.spec.source import Finding, Path

_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_WALL_TIME = re.compile(rf"([0-9]*\.?[0-9]+)\s*({'|'.join(_SECONDS)})")
_BYTES = {"MB": 10**6, "GB": 10**9, "TB": 10**12}
_MEMORY = re.compile(rf"([0-9]*\.?[0-9]+)\s*({'|'.join(_BYTES)})")
_OPTION = re.compile(r"[a-z][a-z0-9-]*")
# Options of sbatch, and the field that gives each of them; those without one are given by the study.
NAMED = {
    **{name: name for name in ("partition", "account", "qos", "time", "nodes", "constraint")},
    "cpus-per-task": "cpus",
    "mem": "memory",
    "array": "concurrent",
    "gpus-per-node": "devices",
}
OURS = (
    *("job-name", "output", "error", "open-mode", "signal", "requeue", "no-requeue", "ntasks"),
    *("ntasks-per-node", "dependency", "wrap", "parsable", "wait", "test-only"),
)


def _wall_time(value: Any) -> Any:
    if isinstance(value, str) and (match := _WALL_TIME.fullmatch(value)) and float(match[1]) > 0:
        return value
    raise PydanticCustomError(
        "spec", "must be a positive number with a unit, such as '30 min', '2 h' or '1 d'"
    )


def _memory_size(value: Any) -> Any:
    if isinstance(value, str) and (match := _MEMORY.fullmatch(value)) and float(match[1]) > 0:
        return value
    raise PydanticCustomError("spec", "must be a positive number with a unit, such as '32 GB'")


def _line(value: Any) -> Any:
    """Refuse what would be several lines of a script."""
    if not isinstance(value, str) or not value or value.isprintable():
        return value
    raise PydanticCustomError("spec", "must be one line of text")


def _option_value(value: Any) -> Any:
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, str) and value:
        return _line(value)
    raise PydanticCustomError("spec", "must be text, a number, true or false")


def _option(value: Any) -> Any:
    if isinstance(value, str) and _OPTION.fullmatch(value):
        return value
    raise PydanticCustomError("spec", "must be the long name of an option of sbatch, without dashes before")


WallTime = Annotated[str, BeforeValidator(_wall_time)]
MemorySize = Annotated[str, BeforeValidator(_memory_size)]
Line = Annotated[str, BeforeValidator(_line), Field(min_length=1)]
Option = Annotated[str, BeforeValidator(_option)]
OptionValue = Annotated[bool | int | float | str, BeforeValidator(_option_value)]


def seconds_of(time: str) -> float:
    """Return the seconds of a :data:`WallTime`."""
    match = _WALL_TIME.fullmatch(time)
    assert match is not None
    return float(match[1]) * _SECONDS[match[2]]


def bytes_of(memory: str) -> int:
    """Return the bytes of a :data:`MemorySize`."""
    match = _MEMORY.fullmatch(memory)
    assert match is not None
    return round(float(match[1]) * _BYTES[match[2]])


class Allocation(Described):
    """What an allocation is asked for; what is left out is the cluster's own choice."""

    partition: Line | None = None
    """Partition to submit to."""
    account: Line | None = None
    """Account to charge."""
    qos: Line | None = None
    """Quality of service."""
    time: WallTime | None = None
    """Time limit of an allocation, such as `2 h`; work that is left continues in another."""
    cpus: Count | None = None
    """Cores of an allocation, on each node. Left out: as many as its jobs have threads."""
    memory: MemorySize | None = None
    """Memory of an allocation, on each node, such as `32 GB`."""
    nodes: Count = 1
    """Nodes that train each job together."""
    constraint: Line | None = None
    """Features that nodes must have."""
    setup: tuple[str, ...] = ()
    """Lines of shell before the work starts, such as `module load cuda`."""
    extra: dict[Option, OptionValue] = Field(default_factory=dict)
    """Further options of sbatch, by their long names."""


def extra_findings(path: Path, extra: Mapping[str, object]) -> Iterator[Finding]:
    """Find options that the study, or a field of its own, gives already."""
    for name in extra:
        if name in NAMED:
            field = NAMED[name]
            message, hint = f"repeats execution.{field}", f"use {field}: instead"
            yield Finding((*path, name), message, hint, at_key=True)
        elif name in OURS:
            yield Finding((*path, name), "is given by the study itself", "leave it out", at_key=True)
