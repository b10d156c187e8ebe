"""What a driver tells whoever watches: the command line prints these, tests collect them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from scaling.sweep.progress import Snapshot


@dataclass(frozen=True)
class PhaseStarted:
    """``runs`` are to be trained (or evaluated again, which ``work`` says) in ``jobs``; ``skipped`` were done
    before, ``given_up`` failed too often. ``workers`` jobs run at once on ``where``, as its executor says."""

    roles: tuple[str, ...]
    runs: int
    skipped: int
    jobs: int
    workers: int
    device: str
    where: str
    flops: int
    given_up: int = 0
    work: Literal["train", "reevaluate"] = "train"


@dataclass(frozen=True)
class JobElsewhere:
    """Another driver works on this job: it is waited for, and taken over if its lease stalls."""

    job_id: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class JobStarted:
    """``resumed``: some of its runs were begun before. ``taken_over``: from a stalled process."""

    job_id: str
    labels: tuple[str, ...]
    slot: int
    attempt: int
    resumed: bool
    taken_over: bool = False


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
    """``reason`` is a signal or a limit; jobs have ``grace_seconds`` to write checkpoints, and as long again
    whenever one has ended; a (second) signal kills them."""

    reason: str
    grace_seconds: float


@dataclass(frozen=True)
class TrackerOpened:
    """A tracker has its first run; ``where`` says where that can be seen."""

    kind: str
    where: str


@dataclass(frozen=True)
class TrackerBehind:
    """A tracker lacks something, and why; ``command`` sends what is missing. Training goes on."""

    kind: str
    reason: str
    command: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}; `{self.command}` sends what is missing"


@dataclass(frozen=True)
class TrackerSent:
    """``ended`` of the ``of`` runs of the plan are in a tracker with their results; ``last``: it ends."""

    kind: str
    ended: int
    of: int
    last: bool


@dataclass(frozen=True)
class TrackerWaiting:
    """All is done but for a tracker, which has so many seconds to catch up."""

    kind: str
    seconds: float


@dataclass(frozen=True)
class Progress:
    snapshot: Snapshot


TrackerEvent = TrackerOpened | TrackerBehind | TrackerSent | TrackerWaiting
Event = (
    PhaseStarted | JobStarted | JobElsewhere | RunFinished | RunFailed | Stopping | Progress | TrackerEvent
)
Watcher = Callable[[Event], None]


@dataclass(frozen=True)
class Outcome:
    """How a phase ended, in run ids. ``interrupted`` is the signal or limit that stopped it; of the
    ``failed`` the ``given_up`` are not tried again. ``submitted`` are jobs of a cluster to which the rest was
    left."""

    done: tuple[str, ...]
    failed: tuple[str, ...]
    unfinished: tuple[str, ...]
    interrupted: str | None
    seconds: float
    given_up: tuple[str, ...] = ()
    submitted: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        if self.submitted:
            return 0
        return 130 if self.interrupted else int(bool(self.failed or self.unfinished))

    @property
    def resume(self) -> str | None:
        """What relaunching would do; None when nothing is left."""
        if not (self.failed or self.unfinished):
            return None
        counts = {
            "to resume or start": len(self.unfinished),
            "failed, to be tried again": len(self.failed) - len(self.given_up),
        }
        parts = [f"{number} {what}" for what, number in counts.items() if number]
        text = f"run the same command again: {', '.join([f'{len(self.done)} done and kept', *parts])}"
        if not self.given_up:
            return text
        more = "--set execution.attempts=N with a larger N tries again"
        lost = f"{len(self.given_up)} failed too often ({more})"
        return f"{text}, {lost}" if parts else lost
