"""What the options of ``fit``, ``plot`` and ``import`` say, as the arguments of the analysis."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from scaling.errors import Problem, UserError


def pairs(texts: Sequence[str] | None, option: str, example: str) -> dict[str, str]:
    """``NAME=VALUE`` of a repeatable option.

    Raises:
        UserError: all that are of another form, or named twice.
    """
    found: dict[str, str] = {}
    problems = []
    for text in texts or ():
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            problems.append(Problem(f"{option} {text}: must look like NAME=VALUE", hint=f"such as {example}"))
        elif name in found:
            problems.append(Problem(f"{option} {name}: is given twice", hint="keep one"))
        found[name] = value
    if problems:
        raise UserError(*problems)
    return found


def fixed(texts: Sequence[str] | None) -> dict[str, float]:
    """``E=1.8`` -> ``{"E": 1.8}``."""
    found, problems = pairs(texts, "--fixed", "--fixed E=1.8"), []
    values = {}
    for name, text in found.items():
        number = _number(text)
        if number is None:
            problems.append(Problem(f"--fixed {name}={text}: must be a number", hint="such as --fixed E=1.8"))
        else:
            values[name] = number
    if problems:
        raise UserError(*problems)
    return values


def bounds(texts: Sequence[str] | None) -> dict[str, tuple[float, float]]:
    """``alpha=0.1:1`` -> ``{"alpha": (0.1, 1.0)}``."""
    found, problems, values = pairs(texts, "--bounds", "--bounds alpha=0.1:1"), [], {}
    for name, text in found.items():
        low, _, high = text.partition(":")
        ends = _number(low), _number(high)
        if ends[0] is None or ends[1] is None or not ends[0] < ends[1]:
            hint = "two numbers that rise, such as --bounds alpha=0.1:1"
            problems.append(Problem(f"--bounds {name}={text}: must be LOW:HIGH", hint=hint))
        else:
            values[name] = ends
    if problems:
        raise UserError(*problems)
    return values


def reading(columns: Sequence[str] | None, units: Sequence[str] | None) -> dict[str, Any]:
    """Arguments of ``analysis.load``: which column is which (``flops=none`` leaves one unused), and units."""
    named = pairs(columns, "--column", "--column 'params=Model Size'")
    return {
        "columns": {ours: None if theirs == "none" else theirs for ours, theirs in named.items()} or None,
        "units": pairs(units, "--unit", "--unit params=M") or None,
    }


def spelt(options: Mapping[str, Any]) -> list[str]:
    """Options as they were typed; those left out are None."""
    given = {key: value if isinstance(value, list) else [value] for key, value in options.items()}
    pairs = [
        (f"--{key}", str(value)) for key, values in given.items() for value in values if value is not None
    ]
    return [part for pair in pairs for part in pair]


def refuse(options: Mapping[str, Any]) -> None:
    """Options of a law, where none is asked for.

    Raises:
        UserError: any is given.
    """
    given = spelt(options)[::2]
    if given:
        hint = "say which, such as --law chinchilla"
        raise UserError(*(Problem(f"{name}: belongs to a law", hint=hint) for name in dict.fromkeys(given)))


def not_drawn(skipped: Mapping[str, str]) -> list[str]:
    """A line for each reason."""
    names: dict[str, list[str]] = {}
    for name, reason in skipped.items():
        names.setdefault(reason, []).append(name)
    return [f"not drawn: {', '.join(found)}: {reason}" for reason, found in names.items()]


def unclear(fitted: Any, profiled: Sequence[str] | None) -> list[str]:
    """The profile to look at next: of the first free parameter that is not identified."""
    found = fitted.identified
    free = [
        n for n in fitted.solution if n in found and n not in fitted.fixed and found[n]["verdict"] != "yes"
    ]
    return ["--profile", free[0]] if free and not profiled else []


def as_options(message: str) -> str:
    """A message of the analysis, which speaks Python, for the command line: ``columns={'params': 'N'}`` is
    ``--column params=N`` here, ``{'flops': None}`` is ``flops=none``."""

    def option(match: re.Match[str]) -> str:
        pairs = re.findall(r"'([^']*)': (?:'([^']*)'|(None))", match[2])
        return " ".join(
            f"--{match[1]} {shlex.quote(f'{ours}={theirs or none.lower()}')}" for ours, theirs, none in pairs
        )

    return re.sub(r"\b(column|unit)s=\{([^{}]*)\}", option, message)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
