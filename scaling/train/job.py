"""Train the runs of one job: advance the shared trunk, branch each run off it, evaluate, record.

A branch starts from a copy of the trunk's state and goes through the same compiled program with the same
inputs as a run trained alone, so its result is the same bit for bit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from scaling.canonical import canonical_json
from scaling.files import write_json
from scaling.store.failure import FULL, is_disk_full, kind_of, write_failure
from scaling.store.folder import TRUNK
from scaling.store.lease import LostLease
from scaling.store.log import now
from scaling.store.metrics import CurveLog, is_evaluation, up_to
from scaling.store.records import JobRun
from scaling.train.averages import Averages, Carried, Sums, along_the_way
from scaling.train.cadence import Cadence, after_trunk, on_trunk, trained_steps
from scaling.train.curve import trained_rows
from scaling.train.feed import Feed
from scaling.train.lanes import Fetch, Lane, Work, finish_alone
from scaling.train.loop import ChunkInput, copy_state
from scaling.train.pack import Asked
from scaling.train.process import PackFailed
from scaling.train.profile import Profile
from scaling.train.record import write_record
from scaling.train.start import start_of
from scaling.train.workbench import Workbench


class Stopped(Exception):
    """The job was asked to stop; its state is in a checkpoint."""


class _Begun(NamedTuple):
    """When this process began a run; its CPU seconds and its seconds of waiting for text until then."""

    at: str
    cpu: float
    input_wait: float


class TrunkTrainer:
    """One process's work on one trunk: ``members`` are the runs that have no record yet.

    ``branch_steps`` are those of all runs that share the trunk, done or not: a chunk ends at each, so that
    curves do not depend on what earlier launches did.
    """

    def __init__(
        self,
        bench: Workbench,
        members: Sequence[JobRun],
        branch_steps: Sequence[int],
        feed: Feed | None = None,
    ):
        self.bench, self.folder, self.lease, self.program = bench, bench.folder, bench.lease, bench.program
        self.feed = feed or Feed(bench.program, bench.windows)
        self.members = sorted(members, key=lambda member: member.run.branch_step)
        self.waiting = self.members  # not ended yet
        self.branch_steps = branch_steps
        self.cadence = Cadence.of(members, bench.index.eval_id)
        self.checkpoints = bench.checkpoints()
        self.trunk_log = CurveLog(self.folder / "trunk.jsonl", self.lease.check)
        self.trunk: tuple[int, Carried] | None = None
        self.on_trunk = False
        self.disk_full = False
        self.last_saved = time.monotonic()
        self.last_progress = 0.0
        self.seconds = 0.0  # of training of the current line, as far as logged
        self.loss: float | None = None
        self.step: int | None = None  # of the current run, as far as logged
        self.resumed = 0
        self.profile = Profile(self.folder, bench.execution.profile_steps or 0)
        self.steps_done = 0  # of all this job's branches and trunk, for progress alone

    def run(self) -> int:
        """Do the :meth:`work` alone in this process."""
        return finish_alone(self.program, self.work)

    def work(self, lane: Lane) -> Work:
        """Train every member in ``lane``; returns how many failed. A failed branch does not stop the others;
        a failed trunk and a full disk do.

        Raises:
            Stopped: asked to stop; what was done is in a checkpoint.
            LostLease: another process works on this job now.
            Relieved: memory ran out; the job is to start again, in smaller pieces.
            PackFailed: memory ran out beside others.
            Exception: memory ran out beside others before the first line began.
        """
        with closing(self.profile):
            try:
                return (yield from self._work(lane))
            finally:
                self.checkpoints.wait()  # nothing may be committed when the lease is given back

    def _work(self, lane: Lane) -> Work:
        self.lane, failed = lane, 0
        for position, member in enumerate(self.members):
            self.step, self.waiting = None, self.members[position:]
            try:
                yield from self._train(member, is_last=position == len(self.members) - 1)
            except (Stopped, LostLease, KeyboardInterrupt, PackFailed):
                raise
            except Exception as error:
                self.bench.hosts.hold(error)
                if not lane.alone and kind_of(error) == "out_of_memory":
                    if lane.is_empty:  # the others have lost nothing
                        raise
                    raise PackFailed from error
                self.bench.relief.after(error)
                failed += 1
                self.lease.check()
                write_failure(self.bench.run_folder(member), self.folder, error, self.step)
                self.disk_full = is_disk_full(error)
                self.bench.hosts.leave(FULL if self.disk_full else 1, str(error))  # the others wait for it
                if self.on_trunk or self.disk_full:
                    break
                self.trunk = None
        self.checkpoints.settle()
        return failed

    def _train(self, member: JobRun, is_last: bool) -> Generator[Asked | None, Fetch | None, None]:
        run, begun = member.run, _Begun(now(), time.process_time(), self.feed.waited)
        self.lease.check()
        write_json(self.bench.run_folder(member) / "run.json", json.loads(canonical_json(run)))
        log = self.bench.curve(member)
        rows, averages = self.cadence.own_rows(log.rows(), member), Averages.of([member])
        usable = self.cadence.whole_steps(rows, member.evaluate_at or ())
        restored = self.checkpoints.restore(member.run_id, self.program.abstract, usable, averages)
        if restored:
            step, carried = restored
            self.resumed += 1
            self.steps_done += step - run.branch_step
            log.restart(up_to(rows, step))
        else:
            self.on_trunk = True
            step, carried = yield from self._reach(member)
            self.on_trunk = False
            log.restart(self.cadence.own_rows(up_to(self.trunk_log.rows(), step), member))
            if is_last:  # a longer run, asked for later, resumes from here
                self._save_trunk()
                self.trunk = None
            else:
                carried = carried._replace(state=copy_state(carried.state))
        carried = yield from self._advance(member, member.run_id, carried, step, run.steps, log)
        self.lane.rest()
        if keep := self.bench.execution.keep_final:
            log.settle()
            self.checkpoints.save(member.run_id, run.steps, carried, averages)
        self.checkpoints.settle()  # a run is recorded when all that it leaves behind is in place
        self._record(member, carried, log, begun)
        if keep:
            self.checkpoints.keep_only(member.run_id, run.steps)
        else:
            self.checkpoints.drop(member.run_id)

    def _reach(self, member: JobRun) -> Generator[Asked | None, Fetch | None, tuple[int, Carried]]:
        """Bring the trunk to the member's branch step, from memory, the newest usable checkpoint, or the
        start."""
        goal, averages = member.run.branch_step, Averages.of(self.waiting)
        if self.trunk is None or self.trunk[0] > goal:
            rows = self.trunk_log.rows()
            usable = self.cadence.whole_steps(up_to(rows, goal), on_trunk(self.waiting))
            self.trunk = self.checkpoints.restore(TRUNK, self.program.abstract, usable, averages)
            self.resumed += self.trunk is not None
            if self.trunk is None:
                self.trunk = 0, Carried(self.program.start(start_of(member)), {})
            self.steps_done += self.trunk[0]
            self.trunk_log.restart(rows)  # without a torn row; whole ones stay true
        step, carried = self.trunk
        carried = carried._replace(sums=averages.own(carried.sums))  # without those of runs that have ended
        for stop in sorted(stop for stop in self.branch_steps if step < stop <= goal):
            carried = yield from self._advance(member, TRUNK, carried, step, stop, self.trunk_log)
            self.lane.rest()
            step = stop
        self.trunk = goal, carried
        return goal, carried

    def _save_trunk(self) -> None:
        if self.trunk is not None and self.trunk[0] > 0:
            self.trunk_log.settle()
            self.checkpoints.save(TRUNK, *self.trunk, Averages.of(self.waiting))

    def _advance(
        self, member: JobRun, line: str, carried: Carried, first: int, last: int, log: CurveLog
    ) -> Generator[Asked | None, Fetch | None, Carried]:
        """Train steps ``first`` to ``last`` of a line; a chunk's metrics are read while the next one runs.

        Args:
            member: whose recipe it is.
            line: ``trunk`` or the run's id.
            carried: after ``first`` steps.
            first: steps done.
            last: steps to be done.
            log: the curve of the line.
        """
        run = member.run
        if not carried.state.ok:
            return carried
        rows = log.rows()
        logged = trained_steps(rows)
        evaluated = on_trunk(self.waiting) if line == TRUNK else after_trunk(member)
        evaluated -= self.cadence.evaluated_steps(rows)
        averages = Averages.of(self.waiting if line == TRUNK else [member])
        before = [row["wall_time"] for row in up_to(rows, first) if not is_evaluation(row)]
        self.seconds = before[-1] if before else 0.0
        clock = time.monotonic() - self.seconds
        self.lane.put(carried.state)
        pending: tuple[ChunkInput, Fetch] | None = None
        step = first
        for chunk in self.feed.chunks(run.order_seed, first, last, self.bench.execution.stops):
            fetch = yield Asked(run, chunk)
            assert fetch is not None, "a chunk was asked for"
            step, clock = chunk.step + chunk.live, clock + self.lane.pause()
            self.profile.trained(chunk.live, fetch)
            if averages.is_due(step):
                carried = averages.snapshot(step, self._carried(carried.sums))
            alive = pending is None or self._log(member, log, *pending, clock, logged)
            pending = chunk, fetch
            due = self.bench.hosts.agree(self._is_due, bool)
            stop = self.bench.stop_asked()
            if alive and (due or stop or step in evaluated):
                alive = self._log(member, log, *pending, clock, logged)
                pending = None
                if alive and step in evaluated:
                    clock += self._evaluate(member, step, log)
                if due or stop:
                    self.lane.rest()
                    self._save(line, step, self._carried(carried.sums), log)
                    self.lane.go_on()
                if stop:
                    yield None  # so that all jobs of this process save at the same time
                    self.checkpoints.settle()
                    raise Stopped
            if not alive:
                return self._carried(carried.sums)
            if time.monotonic() - self.last_progress > 1.0:
                self._progress(member, step, self.steps_done + step - first)
        if pending:
            self._log(member, log, *pending, clock, logged)
        self.steps_done += last - first
        return self._carried(carried.sums)

    def _is_due(self) -> bool:
        return time.monotonic() - self.last_saved > self.bench.execution.checkpoint_seconds

    def _carried(self, sums: Sums) -> Carried:
        return Carried(self.lane.take(), sums)

    def _evaluate(self, member: JobRun, step: int, log: CurveLog) -> float:
        """Evaluate along the way; returns the seconds it took, which are none of training."""
        self.lane.rest()
        state, evaluate = self.lane.take(), self.bench.evaluate
        averages = {name: evaluate(params).loss for name, params in along_the_way(member, state)}
        log.put(self.cadence.row(member.run, step, evaluate(state.params), averages))
        return self.lane.go_on()

    def _save(self, line: str, step: int, carried: Carried, log: CurveLog) -> None:
        """Checkpoint a line; of a branch, the trunk that waits beside it too."""
        if line != TRUNK:
            self._save_trunk()
        log.settle()
        averaged = self.waiting if line == TRUNK else self.waiting[:1]
        self.checkpoints.save(line, step, carried, Averages.of(averaged))
        self.last_saved = time.monotonic()

    def _log(
        self, member: JobRun, log: CurveLog, chunk: ChunkInput, fetch: Fetch, clock: float, logged: set[int]
    ) -> bool:
        """Log rows unless an earlier launch did; return False where the run has diverged.

        Args:
            member: whose recipe it is.
            log: the curve of the line.
            chunk: that was trained.
            fetch: gives its metrics.
            clock: when its training loop began.
            logged: steps whose rows are in the curve.
        """
        values, first, last = fetch(), chunk.step, chunk.step + chunk.live
        self.bench.went_on()
        began, self.seconds = self.seconds, time.monotonic() - clock
        rows = trained_rows(member.run, first, last, values, (began, self.seconds))
        self.loss, self.step = rows[-1]["train/loss"], last
        # Among others, where an earlier launch went further on another grid of chunks.
        log.put(*(row for row in rows if row["step"] not in logged))
        return bool(values.ok)

    def _progress(self, member: JobRun, step: int, steps_done: int) -> None:
        self.last_progress = time.monotonic()
        trunk = max(m.run.branch_step for m in self.members)
        total = trunk + sum(m.run.steps - m.run.branch_step for m in self.members)
        per_step = member.run.flops_per_step
        self.bench.report(member, step, per_step * min(steps_done, total), per_step * total, self.loss)

    def _record(self, member: JobRun, carried: Carried, log: CurveLog, begun: _Begun) -> None:
        """Evaluate and write the record, last."""

        def seen() -> dict[str, Any]:
            earlier = self.checkpoints.earlier_devices
            return dict(
                **({"earlier_devices": tuple(sorted(earlier))} if earlier else {}),
                input_wait_seconds=round(self.feed.waited - begun.input_wait, 4),
                cpu_seconds=None if self.lane.width > 1 else round(time.process_time() - begun.cpu, 3),
                started=begun.at,
                resumed=self.resumed,
            )

        write_record(self.bench, member, carried, log, self.lane.width, seen)
