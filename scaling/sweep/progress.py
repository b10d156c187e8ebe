"""How far a sweep is, and when it will be done: from the jobs' progress.json and the clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scaling.plan.cost import makespan
from scaling.store.records import JobProgress

SETTLE_SECONDS = 3.0  # reports closer together than this say little about a job's own speed


@dataclass(frozen=True)
class RunningRow:
    """One running job, for a live table. ``step`` and ``loss`` are those of the run it trains now."""

    job_id: str
    run_id: str | None
    label: str
    slot: int
    attempt: int
    seconds: float
    step: int | None
    steps: int | None
    loss: float | None
    fraction: float


@dataclass(frozen=True)
class Snapshot:
    """The whole phase at one moment, as one driver sees it; others work on ``jobs_elsewhere``.
    ``eta_seconds`` is None until a speed is known."""

    seconds: float
    runs_done: int
    runs_failed: int
    runs_total: int
    jobs_queued: int
    flops_done: float
    flops_total: float
    eta_seconds: float | None
    running: tuple[RunningRow, ...]
    jobs_elsewhere: int = 0


@dataclass
class Pace:
    """Work of one job in this launch. ``flops`` are to be done; ``resumed``: some may be done already."""

    flops: float
    started: float
    resumed: bool = False
    first: JobProgress | None = None
    last: JobProgress | None = None
    first_at: float = 0.0
    last_at: float = 0.0

    def report(self, progress: JobProgress | None, now: float) -> None:
        if progress is None or progress == self.last:
            return
        if self.first is None:
            self.first, self.first_at = progress, now
        self.last, self.last_at = progress, now

    @property
    def remaining(self) -> float:
        last = self.last
        return self.flops if last is None else max(0.0, last.job_flops_total - last.job_flops_done)

    @property
    def work(self) -> float:
        """FLOPs done in this launch; of a resumed job, those since its first report."""
        if self.first is None or self.last is None:
            return 0.0
        return max(0.0, self.last.job_flops_done - (self.first.job_flops_done if self.resumed else 0.0))

    def seconds_left(self, rate: float, now: float) -> float | None:
        """Estimate from the job's own speed since its first report, else from ``rate``, FLOPs per second."""
        speed, since = rate, now
        if self.first and self.last and self.last_at - self.first_at > SETTLE_SECONDS:
            gained = self.last.job_flops_done - self.first.job_flops_done
            speed, since = gained / (self.last_at - self.first_at), self.last_at
        if self.remaining == 0:
            return 0.0
        return max(0.0, self.remaining / speed - (now - since)) if speed > 0 else None


class Throughput:
    """Speed over a phase. A finished job counts with all its seconds, compiling and evaluating too."""

    def __init__(self) -> None:
        self._flops = 0.0
        self._seconds = 0.0

    def finished(self, pace: Pace, now: float) -> None:
        self._flops += pace.work + pace.remaining
        self._seconds += now - pace.started

    def eta(self, running: Sequence[Pace], queued: Sequence[float], workers: int, now: float) -> float | None:
        """Estimate the seconds to go, None while no speed is known.

        Args:
            running: paces of the jobs under way.
            queued: FLOPs of the waiting jobs.
            workers: jobs at a time.
            now: by the monotonic clock.
        """
        seconds = self._seconds + sum(now - pace.started for pace in running if pace.work)
        rate = (self._flops + sum(pace.work for pace in running)) / seconds if seconds else 0.0
        busy = [left for pace in running if (left := pace.seconds_left(rate, now)) is not None]
        if len(busy) < len(running) or (queued and not rate):
            return None
        return makespan([flops / rate for flops in queued], workers, busy)
