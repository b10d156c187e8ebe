"""The hosts that train one job together: the first one decides and writes, the others follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

X = TypeVar("X")


@dataclass(frozen=True)
class Hosts:
    """This process, ``number`` of ``count``."""

    number: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        return self.number == 0

    def agree(self, decide: Callable[[], X]) -> X:
        """Return on every host what ``decide`` returns on the first one; all call this in the same order."""
        return decide()


ALONE = Hosts()
