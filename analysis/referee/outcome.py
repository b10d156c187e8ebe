"""What a test says, and the page of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from analysis.codec import Result, plain
from analysis.errors import Argument, Complaint, Text
from analysis.results import Part

HEADINGS = {"fail": "FAILED", "unknown": "COULD NOT BE LOOKED AT", "pass": "PASSED"}


@dataclass(frozen=True)
class Outcome(Part):
    """``verdict``: ``fail``, ``pass``, or ``unknown`` where the table does not say; ``message``: what was
    seen; ``advice``: what to do; ``value``: the number that decides (nan: there is none) and what it is, its
    ``measure``. ``name`` and ``title`` are those of the test."""

    verdict: str
    message: str
    advice: Text = ""
    value: float = np.nan
    measure: str = ""
    name: str = ""
    title: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The fields, the name first; advice as Python writes arguments."""
        said = {"verdict": self.verdict, "message": self.message, "advice": Complaint(self.advice).text()}
        number = {"value": plain(float(self.value)), "measure": self.measure}
        return {"name": self.name, "title": self.title, **said, **number}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what :meth:`to_dict` wrote."""
        return cls(**{**data, "value": np.nan if data["value"] is None else data["value"]})


def judged(
    failed: bool, message: str, advice: Text = "", *, value: float = np.nan, measure: str = ""
) -> Outcome:
    """What a test saw.

    Args:
        failed: whether that speaks against the claims.
        message: what was seen.
        advice: what to do where it failed.
        value: the number that decides.
        measure: what that number is.
    """
    verdict = "fail" if failed else "pass"
    return Outcome(verdict, message, advice if failed else "", value, measure)


def unseen(reason: str, advice: Text = "") -> Outcome:
    """What could not be looked at, why, and what would have to be there."""
    return Outcome("unknown", reason, advice)


@dataclass(frozen=True)
class Page(Result):
    """The outcomes of all tests of one ``law``, by its ``formula``, on ``runs`` runs in a ``convention``;
    ``status``: of its fit."""

    law: str
    formula: str
    convention: str
    runs: int
    status: str
    outcomes: tuple[Outcome, ...]

    SCHEMA: ClassVar = 1
    WHAT: ClassVar = "check"
    AGAIN: ClassVar = "check the table again"
    DERIVED: ClassVar = ("passed", "failed", "unknown")

    @property
    def passed(self) -> tuple[str, ...]:
        """Names of the tests that were passed."""
        return self._with("pass")

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the tests that failed."""
        return self._with("fail")

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of the tests that could not look."""
        return self._with("unknown")

    def _with(self, verdict: str) -> tuple[str, ...]:
        return tuple(one.name for one in self.outcomes if one.verdict == verdict)

    def __getitem__(self, name: str) -> Outcome:
        return {one.name: one for one in self.outcomes}[name]

    def summary(self, *, spell: Callable[[Argument], str] = str) -> str:
        """The page as text, what failed first; ``spell`` writes arguments."""
        lines = [
            f"{self.law}: {self.formula}; {self.runs} runs, convention {self.convention}, fit: {self.status}",
            f"{len(self.failed)} of {len(self.outcomes)} tests failed, {len(self.passed)} passed, "
            f"{len(self.unknown)} could not look",
        ]
        for verdict, heading in HEADINGS.items():
            chosen = [one for one in self.outcomes if one.verdict == verdict]
            lines += ["", heading] if chosen else []
            alike: dict[tuple[str, str], list[str]] = {}  # as where there is no fit to look at
            for one in chosen:
                advice = Complaint(one.advice).text(spell)
                alike.setdefault((one.message, advice), []).append(one.title)
            for (message, advice), titles in alike.items():
                lines += [f"  {'; '.join(titles)}: {message}", *([f"    -> {advice}"] if advice else [])]
        return "\n".join(lines)
