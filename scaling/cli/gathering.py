"""What is wrong with several things that a user gave, said at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from analysis.errors import AnalysisError
from scaling.cli.arguments import as_option
from scaling.errors import Complaint, UserError

T = TypeVar("T")


@dataclass
class Gathering:
    """The problems found so far."""

    problems: list[Complaint] = field(default_factory=list[Complaint])

    def tried(self, make: Callable[[], T]) -> T | None:
        """What is made; None where that fails, whose problems are gathered."""
        try:
            return make()
        except UserError as error:
            self.problems += error.problems
        except AnalysisError as error:
            self.problems += [Complaint(problem.text(as_option)) for problem in error.problems]
        return None

    def settle(self) -> None:
        """Raises UserError with each problem once, if there are any."""
        if self.problems:
            raise UserError(*dict.fromkeys(self.problems))
