"""A trainer of one's own: the command that trains one run, as a spec writes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictBool
from pydantic_core import PydanticCustomError

from scaling.recipe.quantities import LARGEST_COUNT, Described, Positive
from scaling.spec.guess import closest
from scaling.spec.source import Finding

PLACES = ("{run}", "{out}")
_BRACED = re.compile(r"(?<!\$)\{[A-Za-z_]+\}")


def _version(value: Any) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_COUNT
    if whole or (isinstance(value, str) and 1 <= len(value) <= 64):
        return value
    raise PydanticCustomError("spec", "must be a whole number, or text of 1-64 letters")


Argument = Annotated[str, Field(min_length=1, max_length=10_000)]
Command = Annotated[tuple[Argument, ...], Field(min_length=1, max_length=1000)]


class CommandTrainer(Described):
    """A command that trains one run: it reads run.json, and writes metrics.jsonl and result.json."""

    kind: Literal["command"]
    version: Annotated[int | str, BeforeValidator(_version)]
    """Which version of the trainer it is: part of the ids of all runs, as `argv` is not. Change it whenever
    the trainer gives other numbers."""
    argv: Command
    """The command and its arguments, started in the folder of the spec; `{run}` becomes the path of run.json,
    `{out}` that of the folder that it writes to, which run.json names too."""
    folder: Annotated[str, Field(min_length=1, max_length=4096)] | None = None
    """Where commands are started, if not in the folder of the spec; relative to that."""
    resume: StrictBool = False
    """Whether the command goes on from its own checkpoints after it was stopped. false: it starts again."""
    grace_seconds: Positive = 60.0
    """Seconds that it has to save and exit with code 130 after SIGTERM, before it is killed."""

    def findings(self) -> Iterator[Finding]:
        """Find places in the arguments that nothing stands for, and missing ones."""
        text = " ".join(self.argv)
        for i, argument in enumerate(self.argv):
            for place in _BRACED.findall(argument):
                if place not in PLACES:
                    guess = closest(place, PLACES)
                    hint = f"did you mean '{guess}'?" if guess else "there are {run} and {out}"
                    yield Finding(("trainer", "argv", i), f"nothing stands for {place}", hint)
        if "{run}" not in text:  # which names all other paths
            message = "does not say where {run} goes, the path of run.json"
            yield Finding(("trainer", "argv"), message, "add it, such as --run '{run}'")
