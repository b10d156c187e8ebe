"""What a driver tells whoever watches: the command line prints these, tests collect them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scaling.sweep.progress import Snapshot


@dataclass(frozen=True)
class PhaseStarted:
    """``runs`` are to be trained in ``jobs``; ``skipped`` were done before. ``workers`` jobs run at once."""

    roles: tuple[str, ...]
    runs: int
    skipped: int
    jobs: int
    workers: int
    device: str
    flops: int


@dataclass(frozen=True)
class JobStarted:
    """``resumed``: some of its runs were begun before."""

    job_id: str
    labels: tuple[str, ...]
    slot: int
    attempt: int
    resumed: bool


@dataclass(frozen=True)
class RunFinished:
    """A record is there. ``status`` is ``ok`` or ``diverged``."""

    run_id: str
    label: str
    status: str
    status_reason: str | None
    loss: float | None
    seconds: float | None


@dataclass(frozen=True)
class RunFailed:
    """``unreached``: later runs of the same job that wait for this one. ``log`` tells more."""

    run_id: str
    label: str
    kind: str
    message: str
    attempt: int
    will_retry: bool
    unreached: int
    log: str


@dataclass(frozen=True)
class Stopping:
    """``signal`` was received; jobs have ``grace_seconds`` to write checkpoints. A second one kills them."""

    signal: str
    grace_seconds: float


@dataclass(frozen=True)
class Progress:
    snapshot: Snapshot


Event = PhaseStarted | JobStarted | RunFinished | RunFailed | Stopping | Progress
Watcher = Callable[[Event], None]


@dataclass(frozen=True)
class Outcome:
    """How a phase ended, in run ids. ``interrupted`` is the name of the signal that stopped it."""

    done: tuple[str, ...]
    failed: tuple[str, ...]
    unfinished: tuple[str, ...]
    interrupted: str | None
    seconds: float

    @property
    def exit_code(self) -> int:
        return 130 if self.interrupted else int(bool(self.failed or self.unfinished))

    @property
    def resume(self) -> str | None:
        """What relaunching would do; None when nothing is left."""
        if not (self.failed or self.unfinished):
            return None
        return (
            f"run the same command again: {len(self.done)} done runs are kept, {len(self.unfinished)} go on "
            f"from their last checkpoints or start, {len(self.failed)} failed ones are tried again"
        )
