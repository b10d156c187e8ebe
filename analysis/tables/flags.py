"""Which flagged runs are used: a rule for every flag, of the user or ours, and what a fit says of them.

Flags are doubts about a loss, in the column ``flags`` (``a|b``) that ``scaling collect`` writes; another's
table may have its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from analysis.errors import AnalysisError, Argument, Complaint, some
from analysis.tables.checks import row_names
from analysis.tables.expressions import nearest

Use = Literal["use", "drop"]
COLUMN = "flags"
BETWEEN = "|"


@dataclass(frozen=True)
class Rule:
    """``use`` or ``drop`` runs with a flag, and what the flag ``means``. Where every run has a flag that
    drops, it is no contrast, and all are used."""

    usual: Use
    means: str


RULES: dict[str, Rule] = {
    "undercooled": Rule("drop", "the learning rate ends high, or decays over too few steps"),
    "long_warmup": Rule("drop", "the warm-up is more than a quarter of the run"),
    "loss_spike": Rule("use", "the training loss jumped"),
    "still_falling": Rule("use", "the training loss falls faster at the end than any law"),
    "rate_edge": Rule(
        "use", "the best learning rate is an end of what was tried: a better one may lie beyond"
    ),
    "batch_edge": Rule("use", "the best batch is an end of what was tried: a better one may lie beyond"),
    "size_edge": Rule("use", "the best size of a budget is an end of what was trained"),
    "eval_noise": Rule("use", "the difference to a neighbour is within the error of the evaluation"),
    "other_device": Rule("use", "it was resumed on a device of another kind"),
}


def of_rows(frame: Any) -> list[tuple[str, ...]]:
    """The flags of each row; none where there is no such column."""
    if COLUMN not in frame.columns or frame[COLUMN].isna().all():
        return [()] * len(frame)
    texts = frame[COLUMN].fillna("").astype(str)
    return [tuple(flag for part in text.split(BETWEEN) if (flag := part.strip())) for text in texts]


def check_rules(given: Mapping[str, str], frame: Any) -> None:
    """Raises AnalysisError for rules of another form, or of a flag that is neither ours nor in the table."""
    known = {*RULES, *(flag for flags in of_rows(frame) for flag in flags)} if given else set()
    problems = []
    for flag, rule in given.items():
        where = Argument(COLUMN, {flag: rule})
        if rule not in ("use", "drop"):
            problems.append(Complaint("a rule must be use or drop", where))
        elif flag not in known:
            problems.append(Complaint(f"no flag {flag!r}", where, nearest(flag, sorted(known))))
    if problems:
        raise AnalysisError(problems)


def dropped(frame: Any, usable: np.ndarray, given: Mapping[str, str]) -> np.ndarray:
    """Why rows are dropped for their flags (n,), empty where they are not.

    Args:
        frame: rows of a table.
        usable: of them (n,) those that would be used; the rules look at these alone.
        given: rules of the user, by flag, before ours.
    """
    reasons = np.full(len(frame), "", object)
    for flag, has in _present(frame, usable).items():
        if _rule(flag, given) == "drop" and (flag in given or not has[usable].all()):
            reasons[has & (reasons == "")] = f"flag {_named(flag)}"
    return reasons


def remarks(frame: Any) -> list[str]:
    """What a reader must know of the flagged rows among those used."""
    found = []
    for flag, has in _present(frame, np.ones(len(frame), bool)).items():
        if has.all() and _rule(flag, {}) == "drop":
            found.append(f"every run has flag {_named(flag)}: the law is of such runs")
        else:
            found.append(f"{int(has.sum())} of {len(frame)} runs are used with flag {_named(flag)}: "
                         f"{some(_names(frame)[has])}")  # fmt: skip
    return found


def _present(frame: Any, usable: np.ndarray) -> dict[str, np.ndarray]:
    """The flags of usable rows, and which of these rows (n,) have them."""
    flags = of_rows(frame)
    present = dict.fromkeys(flag for i in np.flatnonzero(usable) for flag in flags[i])
    return {flag: usable & np.array([flag in row for row in flags], bool) for flag in present}


def _rule(flag: str, given: Mapping[str, str]) -> str:
    return given.get(flag, RULES[flag].usual if flag in RULES else "use")


def _named(flag: str) -> str:
    return f"{flag} ({RULES[flag].means})" if flag in RULES else flag


def _names(frame: Any) -> np.ndarray:
    if "label" in frame.columns and frame["label"].notna().all():
        return frame["label"].to_numpy(object)
    return np.array(row_names(frame), object)
