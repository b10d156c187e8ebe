"""Moments of a phase."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


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
