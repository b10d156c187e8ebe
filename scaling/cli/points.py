"""Where a law is asked: the inputs of ``--at``, and the compute of ``--compute``."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any

import numpy as np

from analysis.fits import cost
from analysis.fits.given import GivenLaw
from analysis.fits.result import Fit
from analysis.laws.law import Law
from analysis.optimal_size.estimate import Estimate
from analysis.tables.runs import CONVENTIONS
from scaling.cli.arguments import number, pairs, split
from scaling.errors import Complaint, UserError

Predictor = Fit | Estimate | GivenLaw
AT = "--at params=7e9,tokens=1.4e11"
APART = (
    2.0  # times what a run of these parameters and tokens costs, or as little of it: another run's compute
)


def budgets(texts: Sequence[str] | None) -> list[float]:
    """Compute asked for: ``1e22``, ``1e20,1e21`` or ``1e20:1e23``, one a decade, and the end.

    Raises:
        UserError: all that are of another form.
    """
    values: list[float] = []
    problems = []
    for text in (part.strip() for given in texts or () for part in given.split(",")):
        first, colon, last = text.partition(":")
        low, high = number(first), number(last if colon else first)
        if low is None or high is None or not (0 < low < math.inf and 0 < high < math.inf):
            hint = "such as --compute 1e22, or 1e20:1e23 for one a decade"
            problems.append(Complaint(f"--compute {text}: must be FLOPs, positive", hint=hint))
        elif colon and not low < high:
            hint = f"the smaller first, such as --compute {last}:{first}"
            problems.append(Complaint(f"--compute {text}: must rise", hint=hint))
        else:
            values += _decades(low, high) if colon else [low]
    if problems:
        raise UserError(*problems)
    return list(dict.fromkeys(values))


def _decades(low: float, high: float) -> list[float]:
    steps = math.floor(math.log10(high / low) + 1e-9)
    rising = [float(f"{low * 10.0**i:.12g}") for i in range(steps + 1)]
    return rising if rising[-1] >= high * (1 - 1e-9) else [*rising, high]


def points(texts: Sequence[str] | None, predictor: Predictor) -> list[dict[str, Any]]:
    """Inputs asked for, by column: ``params=7e9,tokens=1.4e11``, a dict for each text.

    Raises:
        UserError: all that are of another form, unknown, missing, or not positive; compute that the
            parameters and tokens beside it do not cost.
    """
    if not texts:
        return []
    if isinstance(predictor, Estimate):
        message = f"--at {texts[0]}: {predictor.kind} knows the best sizes at a compute, not other losses"
        raise UserError(Complaint(message, hint="ask with --compute, or fit a law"))
    group = predictor.setup.groups if isinstance(predictor, Fit) else None
    known = columns(predictor.law, predictor.convention)
    given = inputs(texts, known, predictor.law.name, partial(_missing, predictor, known), group)
    if problems := [wrong for point in given for wrong in _contradictions(predictor, known, point)]:
        raise UserError(*problems)
    return given


def _contradictions(
    predictor: Fit | GivenLaw, known: Mapping[str, str], point: Mapping[str, Any]
) -> list[Complaint]:
    """Compute that is more than ``APART`` times what the fitted runs cost at its N and D, or less."""
    rate = _cost(predictor)
    if rate is None or not {known.get(x) for x in "NDC"} <= {*point}:
        return []
    size, tokens, flops = (point[known[x]] for x in "NDC")
    costs = float(rate.flops(np.array([size]), np.array([tokens]))[0])
    if 1 / APART <= flops / costs <= APART:
        return []
    whose = "C = 6 N D" if isinstance(predictor, GivenLaw) else "the fitted runs"
    message = (
        f"--at {known['C']}={flops:g}: must be within a factor {APART:g} of {costs:.3g}, which "
        f"{known['N']}={size:g},{known['D']}={tokens:g} cost by {whose}"
    )
    return [Complaint(message, hint=f"leave out {known['C']}, or one of the other two")]


def _cost(predictor: Fit | GivenLaw) -> cost.Cost | None:
    """What N and D cost by the runs behind a law; None where their compute is not known."""
    if isinstance(predictor, GivenLaw):
        return predictor.cost
    if predictor.optimum:
        return predictor.optimum.cost
    runs = [np.array(predictor.data[x]) for x in "NDC" if predictor.data.get(x)]
    return cost.fitted(*runs) if len(runs) == 3 else None


def columns(law: Law, convention: str) -> dict[str, str]:
    """Input of a law -> its column, with those that give it: N or D follow from C."""
    names = {"N": CONVENTIONS[convention][0], "D": "tokens", "C": "flops"}
    inputs = {x: names.get(x, x) for x in law.inputs}
    if {"N", "D"} <= {*inputs}:
        inputs["C"] = names["C"]
    return inputs if "M" not in inputs else names | inputs


def inputs(
    texts: Sequence[str] | None,
    known: Mapping[str, str],
    name: str,
    lacks: Callable[[Mapping[str, Any]], Sequence[str]] | None = None,
    group: str | None = None,
) -> list[dict[str, Any]]:
    """Inputs by column, a dict for each text.

    Args:
        texts: such as ``params=7e9,tokens=1.4e11``.
        known: the columns that may be given, by their short names.
        name: of the law that takes them.
        lacks: the columns that are missing beside those given; left out: all that are not given.
        group: a column whose values are text.

    Raises:
        UserError: all that are of another form, unknown, missing, or not positive.
    """
    given, problems = list[dict[str, Any]](), list[Complaint]()
    for text in texts or ():
        point, wrong = _point(text, known, name, group)
        missing = lacks(point) if lacks else [column for column in known.values() if column not in point]
        if missing and not wrong:
            message = f"--at {text}: lacks {', '.join(missing)}, needed by {name}"
            wrong = [Complaint(message, hint=f"add {','.join(f'{column}=...' for column in missing)}")]
        given.append(point)
        problems += wrong
    if problems:
        raise UserError(*problems)
    return given


def _point(
    text: str, known: Mapping[str, str], name: str, group: str | None
) -> tuple[dict[str, Any], list[Complaint]]:
    point: dict[str, Any] = {}
    problems: list[Complaint] = []
    for key, value in pairs(split(text), "--at", AT).items():
        column, parsed = known.get(key, key), value if key == group else number(value)
        if column not in known.values() and key != group:
            close = get_close_matches(key, [*known, *known.values()], n=1)
            hint = f"did you mean {close[0]}?" if close else f"give {', '.join(known.values())}"
            problems.append(Complaint(f"--at {key}={value}: {name} has no such input", hint=hint))
        elif column in point:
            problems.append(Complaint(f"--at {text}: {column} is given twice", hint="keep one"))
        elif isinstance(parsed, str) or (parsed is not None and 0 < parsed < math.inf):
            point[column] = parsed
        else:
            hint = f"such as {AT}"
            problems.append(Complaint(f"--at {key}={value}: must be a number above 0", hint=hint))
    return point, problems


def _missing(predictor: Fit | GivenLaw, known: Mapping[str, str], point: Mapping[str, Any]) -> list[str]:
    """The columns that neither are given nor follow from those given."""
    inputs, have = {*predictor.law.inputs}, {x for x, column in known.items() if column in point}
    if have == {"C"} and inputs == {"N", "D"}:
        return []
    if "C" in have and have & {"N", "D"}:
        have |= {"N", "D"}
    if {"N", "D"} <= have:
        have |= {"M"} if CONVENTIONS[predictor.convention][1] is None else {"M", "C"}
    return [known[x] for x in predictor.law.inputs if x not in have]
