"""What options say, as the arguments of the analysis; and arguments of the analysis as options."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from scaling.errors import Complaint, UserError

if TYPE_CHECKING:
    from analysis.errors import Argument

Value = TypeVar("Value")
COMMA = re.compile(r",(?=\s*\w+(?:\[[^\]]*\])?\s*=)")  # before a next NAME= or NAME[GROUP]=


def pairs(texts: Sequence[str] | None, option: str, example: str) -> dict[str, str]:
    """``NAME=VALUE`` of a repeatable option.

    Raises:
        UserError: all that are of another form, or named twice.
    """
    values: dict[str, str] = {}
    problems = []
    for text in texts or ():
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            problems.append(
                Complaint(f"{option} {text}: must look like NAME=VALUE", hint=f"such as {example}")
            )
        elif name in values:
            problems.append(Complaint(f"{option} {name}: is given twice", hint="keep one"))
        values[name] = value
    if problems:
        raise UserError(*problems)
    return values


def parsed(
    texts: Sequence[str] | None, option: str, example: str, read: Callable[[str], Value | None], rule: str
) -> dict[str, Value]:
    """``NAME=VALUE``, several in one text divided by commas.

    Args:
        texts: of a repeatable option.
        option: its name.
        example: of how it is written.
        read: a value; None where it is of another form.
        rule: what a value must be.

    Raises:
        UserError: all that are of another form, or named twice.
    """
    named = pairs([part for text in texts or () for part in split(text)], option, example)
    values = {name: read(text) for name, text in named.items()}
    problems = [
        Complaint(f"{option} {name}={named[name]}: must be {rule}", hint=f"such as {example}")
        for name, value in values.items()
        if value is None
    ]
    if problems:
        raise UserError(*problems)
    return {name: value for name, value in values.items() if value is not None}


def require_positive(options: Mapping[str, tuple[float | None, str]]) -> None:
    """Raise UserError for all values of options, each with an example, that are not positive and finite."""
    wrong = [
        Complaint(f"{option} {value:g}: must be positive and finite", hint=f"such as {option} {example}")
        for option, (value, example) in options.items()
        if value is not None and not 0 < value < float("inf")
    ]
    if wrong:
        raise UserError(*wrong)


def require_within(options: Mapping[str, tuple[float | None, float, float]]) -> None:
    """Raise UserError for all values of options that lie outside of the least and the most of each."""
    wrong = [
        Complaint(f"{option} {value:g}: must be {_limits(least, most)}")
        for option, (value, least, most) in options.items()
        if value is not None and not least <= value <= most
    ]
    if wrong:
        raise UserError(*wrong)


def _limits(least: float, most: float) -> str:
    return f"{least:g} to {most:g}" if math.isfinite(most) else f"{least:g} or more"


def split(text: str) -> list[str]:
    """``A=1,B=2`` -> ``["A=1", "B=2"]``."""
    return COMMA.split(text)


def fixed_values(texts: Sequence[str] | None) -> dict[str, float]:
    """``E=1.8,alpha=0.3`` -> ``{"E": 1.8, "alpha": 0.3}``."""
    return parsed(texts, "--fixed", "--fixed E=1.8", number, "a number")


def bound_values(texts: Sequence[str] | None) -> dict[str, tuple[float, float]]:
    """``alpha=0.1:1`` -> ``{"alpha": (0.1, 1.0)}``."""
    example = "--bounds alpha=0.1:1"
    return parsed(texts, "--bounds", example, _ends, "LOW:HIGH, two numbers that rise")


def number(text: str) -> float | None:
    """The number that a text is; None for any other."""
    try:
        return float(text)
    except ValueError:
        return None


def _ends(text: str) -> tuple[float, float] | None:
    low, high = map(number, text.partition(":")[::2])
    return None if low is None or high is None or not low < high else (low, high)


def as_option(argument: Argument) -> str:
    """An argument of the analysis as the options of the command line that give it."""
    match argument.name, argument.value:
        case ("columns" | "units") as name, dict() as values:
            pairs = (f"{ours}={'none' if theirs is None else theirs}" for ours, theirs in values.items())
            return " ".join(f"--{name.removesuffix('s')} {shlex.quote(pair)}" for pair in pairs)
        case "flags", dict() as values:
            return " ".join(f"--flags {shlex.quote(f'{flag}={rule}')}" for flag, rule in values.items())
        case "bounds", dict() as values:
            return " ".join(f"--bounds {name}={low}:{high}" for name, (low, high) in values.items())
        case "fixed", dict() as values:
            return " ".join(f"--fixed {name}={value}" for name, value in values.items())
        case name, float() as value:
            return f"--{name} {value:.6g}"
        case name, True:
            return f"--{name}"
        case name, value:
            return f"--{name} {shlex.quote(str(value))}"
