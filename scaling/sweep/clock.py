"""When a phase, or all phases of a study, must end, and what is due again."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from scaling.errors import Complaint, UserError


@dataclass(frozen=True)
class TimeLimit:
    """When to stop, however many phases a study has: ``ends`` of ``time.monotonic``; None: never."""

    ends: float | None

    @classmethod
    def of(cls, hours: float | None) -> TimeLimit:
        """Stop so many hours from now. Raises UserError where they are not positive and finite."""
        if hours is None:
            return cls(None)
        if not 0 < hours < float("inf"):
            hint = "give the hours after which to stop, such as 12"
            raise UserError(Complaint(f"max_hours = {hours}: must be positive", hint=hint))
        return cls(time.monotonic() + 3600 * hours)

    @property
    def hours(self) -> float | None:
        """The hours left, at least a second."""
        return None if self.ends is None else max(self.ends - time.monotonic(), 1) / 3600


@dataclass
class Clock:
    """When a phase began, when it must end, and what is due again; by the monotonic clock."""

    ends: float | None = None
    began: float = field(default_factory=time.monotonic)
    done: dict[str, float] = field(default_factory=dict)

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.began

    @property
    def is_over(self) -> bool:
        return self.ends is not None and time.monotonic() > self.ends

    def is_due(self, what: str, seconds: float) -> bool:
        """Tell whether ``what`` was last done more than ``seconds`` ago; if so, count it as done now."""
        now = time.monotonic()
        if what in self.done and now - self.done[what] < seconds:
            return False
        self.done[what] = now
        return True
