"""Numbers as text writes them: decimal commas and separators of thousands where stated; cells -> values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.errors import AnalysisError, Argument, Complaint, alternatives

# cells without a value, folded
EMPTY = frozenset(
    {"", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "+nan", "null", "none", "-", "--", "–", "—"}
)
# columns that stay text, though their values may look like numbers
TEXT = frozenset({"run_id", "job_id", "trunk_id", "eval_id", "label", "study", "flags", "git_commit"})
DECIMAL = (".", ",")
THOUSANDS = (",", ".", " ", "'", "_")
SPACES = " \u00a0\u202f"  # that separate thousands
GROUPED = re.compile(r"\s*[+-]?[1-9]\d{0,2}(?:\.\d{3})+\s*")
# How a cell proves the format of its file: the first that matches
COMMA_AND_GROUPS = re.compile(r"\s*[+-]?\d{1,3}(?:\.\d{3})+,\d+\W*|\s*\d{1,3}(?:\.\d{3}){2,}\W*")
COMMAS = re.compile(r"\s*[+-]?\d{1,3}(?:(?:,\d{3}){2,}(?:\.\d*)?|(?:,\d{3})+\.\d+)\W*")
SPACED = re.compile(rf"\s*[+-]?\d{{1,3}}(?:[{SPACES}]\d{{3}})+(?:[.,]\d+)?\W*")
QUOTED = re.compile(r"\s*[+-]?\d{1,3}(?:['’]\d{3})+(?:[.,]\d+)?\W*")
EITHER = re.compile(r"\s*[+-]?[1-9]\d{0,2},\d{3}\W*")
COMMA = re.compile(r"\s*[+-]?\d+,\d+(?:[eE][+-]?\d+)?\s?[%\w]?\W*")


@dataclass(frozen=True)
class NumberFormat:
    """The sign before decimals, and the sign between thousands, if any. Raises AnalysisError."""

    decimal: str = "."
    thousands: str | None = None

    def __post_init__(self) -> None:
        problems = []
        if self.decimal not in DECIMAL:
            problems.append(Complaint("must be '.' or ','", Argument("decimal", self.decimal)))
        if self.thousands is not None and self.thousands not in THOUSANDS:
            choice = f"must be one of {' '.join(map(repr, THOUSANDS))}"
            problems.append(Complaint(choice, Argument("thousands", self.thousands)))
        elif self.thousands == self.decimal:
            hint = "say both: ", *_both(*((",", ".") if self.decimal == "." else (".", ",")))
            what = "is the decimal sign as well"
            problems.append(Complaint(what, Argument("thousands", self.thousands), hint))
        if problems:
            raise AnalysisError(problems)

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        between = {None: "(?!)", " ": f"[{SPACES}]", "'": "['’]"}.get(
            self.thousands, re.escape(self.thousands or "")
        )
        whole = rf"\d{{1,3}}(?:{between}\d{{3}})+|\d+"
        return re.compile(
            rf"\s*(?P<sign>[+-]?)(?P<whole>{whole})(?:{re.escape(self.decimal)}(?P<part>\d*))?"
            r"(?P<rest>(?:[eE][+-]?\d+)?(?:\s?[^\W\d_]|\s?%)?)\s*"
        )

    def plain(self, cell: str) -> str:
        """The cell with a decimal point and without separators, where it is a number of this format."""
        match = self.pattern.fullmatch(cell)
        if match is None:
            return cell
        whole = re.sub(r"\D", "", match["whole"])
        return match["sign"] + whole + (f".{match['part']}" if match["part"] else "") + match["rest"]

    def is_ambiguous(self, cells: Iterable[str]) -> bool:
        """Whether a decimal comma was stated, but these cells could have points between thousands."""
        written = [cell for cell in cells if cell.strip().lower() not in EMPTY]
        return (
            (self.decimal, self.thousands) == (",", None)
            and any(map(GROUPED.fullmatch, written))
            and all(GROUPED.fullmatch(cell) or cell.strip().isdigit() for cell in written)
        )


PLAIN = NumberFormat()


def _both(decimal: str, thousands: str) -> tuple[str | Argument, ...]:
    return Argument("thousands", thousands), " ", Argument("decimal", decimal)


def proposal(cells: Iterable[str]) -> tuple[str | Argument, ...] | None:
    """How to state the format in which cells of a file, none of them a plain number, are numbers; None where
    they are none."""
    cells = list(cells)

    def some_are(pattern: re.Pattern[str]) -> bool:
        return any(map(pattern.fullmatch, cells))

    comma = any(COMMA.fullmatch(cell) and not EITHER.fullmatch(cell) for cell in cells)
    decimal = (" ", Argument("decimal", ",")) if comma else ()
    if some_are(COMMA_AND_GROUPS):
        return _both(",", ".")
    if some_are(SPACED):
        return (Argument("thousands", " "), *decimal)
    if some_are(QUOTED):
        return (Argument("thousands", "'"), *decimal)
    if some_are(COMMAS):
        return (Argument("thousands", ","),)
    if comma:
        return (Argument("decimal", ","),)
    if some_are(EITHER):
        return alternatives((Argument("thousands", ","), Argument("decimal", ",")))
    return None


def typed(cells: Sequence[str], column: str, numbers: NumberFormat = PLAIN) -> np.ndarray:
    """int64, float64 or bool where every cell that is not empty is such; else text, None where empty."""
    if column in TEXT:
        return _text(cells)
    if numbers != PLAIN:
        cells = [numbers.plain(cell) for cell in cells]
    try:
        return np.fromiter(map(int, cells), np.int64, len(cells))
    except (ValueError, OverflowError):
        pass
    try:
        return np.fromiter(map(float, cells), float, len(cells))
    except ValueError:
        pass
    folded = [cell.strip().lower() for cell in cells]
    try:
        empty = float("nan")
        return np.array([empty if name in EMPTY else float(name) for name in folded])
    except ValueError:
        pass
    if set(folded) <= {"true", "false"}:
        return np.array([name == "true" for name in folded])
    return _text(cells)


def _text(cells: Sequence[str]) -> np.ndarray:
    return np.array([None if cell.strip().lower() in EMPTY else cell.strip() for cell in cells], object)
