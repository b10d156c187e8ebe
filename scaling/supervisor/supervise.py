"""One job of a trainer of one's own, from its ``job.json`` to the records of its runs: under its lease, a
command is started, followed, stopped, and believed as far as it was checked."""

from __future__ import annotations

import json
import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from scaling.canonical import canonical_json
from scaling.errors import Complaint, UserError
from scaling.files import clear_leftovers, create_json, write_json
from scaling.run import ExternalRun
from scaling.store.documents import read
from scaling.store.failure import BUSY, LOST, STOPPED, TOLD_BY_STATUS, Kind, note_failure
from scaling.store.folder import is_recorded
from scaling.store.lease import Busy, Lease, LostLease, acquire
from scaling.store.log import log_tail, now
from scaling.store.metrics import CurveLog
from scaling.store.process import Process
from scaling.store.records import JobCommand, JobRun, JobSpec, Provenance, Record
from scaling.store.start import START, CommandStart
from scaling.supervisor.command import Command, Ended
from scaling.supervisor.contract import (
    CHECKPOINTS,
    HINT,
    LONGEST,
    METRICS,
    RESULT,
    ResultFile,
    RunFile,
    read_result,
)
from scaling.supervisor.follow import Follower
from scaling.supervisor.keeper import KILL
from scaling.supervisor.translate import make_result, run_file
from scaling.train.orders import Order
from scaling.train.process import StopRequest
from scaling.train.serve import say

LOOK_SECONDS = 0.1
CHECK_SECONDS = 1.0  # between looks at the lease
KILL_SECONDS = 10.0  # for what a stalled supervisor of this machine left behind
OWN = "external"  # the folder of the command, in that of its job


def supervise(order: Order, stop: StopRequest) -> int:
    """Do one job; returns its exit status."""
    folder = order.folder
    try:
        lease = acquire(folder, order.mark)
    except Busy as busy:
        say(f"not started: {busy} holds the lease of this job")
        return BUSY
    try:
        job = read(JobSpec[ExternalRun], folder / "job.json")
        if job is None:
            raise FileNotFoundError(folder / "job.json")
        lease.keep(job.execution.lease_seconds)
        for member in job.runs:
            run_folder = folder.parent.parent / "runs" / member.run_id
            if not is_recorded(run_folder, lease):
                clear_leftovers(run_folder)
                if status := Attempt(folder, run_folder, job, member, lease, stop).run():
                    return status
        return 0
    except LostLease as lost:
        say(f"left without writing: {lost}")
        return LOST
    finally:
        lease.release()


class Broken(Exception):
    """The command did not do what it was asked to: why, in one line, and the kind of failure."""

    def __init__(self, kind: Kind, problem: Complaint | UserError):
        super().__init__(str(problem))
        self.kind: Kind = kind


@dataclass
class Attempt:
    """One start of the command of a run."""

    folder: Path
    run_folder: Path
    job: JobSpec[ExternalRun]
    member: JobRun[ExternalRun]
    lease: Lease
    stop: StopRequest

    def run(self) -> int:
        """Train the run; returns the exit status, 0 where it has a record.

        Raises:
            LostLease: another process works on this job now; the command was killed, and nothing is written.
        """
        self.step: int | None = None
        try:
            return self._run()
        except Broken as broken:
            self.lease.check()
            say(str(broken))
            note_failure(
                self.run_folder,
                self.folder,
                kind=broken.kind,
                message=str(broken),
                step=self.step,
                log_tail=log_tail(self.folder),
            )
            return STOPPED if self.stop.asked else 1

    def _run(self) -> int:
        self.began, run = now(), self.member.run
        given = self.job.execution.command
        assert given, "a job of external runs has a command"
        self.lease.check()
        reached = end_earlier(self.folder)
        asked, left = self._prepare(given)
        write_json(self.run_folder / "run.json", json.loads(canonical_json(run)))
        log = CurveLog(self.run_folder / METRICS, self.lease.check)
        follower = Follower(asked, run, log, self._note_start if asked.resumed else None, left)
        places = {"{run}": str(self._own / "run.json"), "{out}": asked.paths.out}
        try:
            command = Command(
                [_filled(word, places) for word in given.argv],
                Path(given.directory),
                self.folder / "log.txt",
                {"SCALING_RUN": places["{run}"]},
            )
        except UserError as error:
            raise Broken("not_started", error) from None
        try:
            self._keeper = Process.of(command.keeper)
            self._note_start(reached if asked.resumed else 0)
            self._watch(command, follower, given.grace_seconds)
            ended = command.poll()
            assert ended
            return self._end(ended, asked, follower)
        finally:
            command.kill()
            log.close()

    @property
    def _own(self) -> Path:
        return self.folder / OWN

    def _prepare(self, given: JobCommand) -> tuple[RunFile, bytes]:
        """Make the folder of the command, and its run.json; returns also the lines of the start before, where
        this one may resume from it."""
        if not given.resume and self._own.exists():
            shutil.rmtree(self._own)
        checkpoints = self._own / CHECKPOINTS
        checkpoints.mkdir(parents=True, exist_ok=True)
        left = (self._own / METRICS).read_bytes() if (self._own / METRICS).exists() else b""
        for name in (METRICS, RESULT):
            (self._own / name).unlink(missing_ok=True)
        asked = run_file(self.job, self.member, self.lease.token, any(checkpoints.iterdir()), self._own)
        write_json(self._own / "run.json", asked.model_dump(mode="json", by_alias=True))
        return asked, left if asked.resumed else b""

    def _note_start(self, resumed_from: int) -> None:
        """Write command.json: which processes there are, and from where they went on."""
        start = CommandStart(start=self.lease.token, keeper=self._keeper, resumed_from=resumed_from)
        write_json(self.folder / START, start.to_json())

    def _watch(self, command: Command, follower: Follower, grace: float) -> None:
        """Follow the command to its end; ask it to stop where this process is asked to.

        Raises:
            Broken: it writes what it must not, or does not stop.
            LostLease: another process works on this job now.
        """
        checked, deadline = time.monotonic(), None
        ended = None
        while not ended:
            ended = command.poll()
            self._read(follower)
            now = time.monotonic()
            if now - checked > CHECK_SECONDS:
                self.lease.check()
                checked = now
            if self.stop.asked and deadline is None:
                say(f"asked to stop: SIGTERM to the command, which has {grace:g} s to save and exit with 130")
                command.stop()
                deadline = now + grace
            if not ended and deadline is not None and now > deadline:
                command.kill()
                self._read(follower)
                if (self._own / RESULT).exists():
                    return
                problem = f"the command ran on for {grace:g} s after SIGTERM and was killed"
                hint = "let it save and exit with status 130, or raise trainer.grace_seconds"
                raise Broken("ignored_stop", Complaint(problem, hint=hint))
            if not ended:
                time.sleep(LOOK_SECONDS)

    def _read(self, follower: Follower) -> None:
        try:
            if follower.read():
                self.step = follower.step
                self.lease.check()
            follower.report(self.folder)
        except UserError as error:
            raise Broken("contract", error) from None

    def _end(self, ended: Ended, asked: RunFile, follower: Follower) -> int:
        """Judge how the command ended; record its result, if there is one."""
        result = self._result(asked)
        if result is not None:
            self._record(result, ended, asked, follower)
            return 0
        left = f", leaving {', '.join(ended.left)} behind, which was killed" if ended.left else ""
        if self.stop.asked:
            say(f"stopped as asked, with status {ended.status}{left}; a relaunch goes on")
            return STOPPED
        if ended.status == 0 and ended.left:
            problem = f"the command exited with status 0 and without {RESULT}{left}"
            hint = "let trainer.argv stay in the foreground until the run has ended"
            raise Broken("contract", Complaint(problem, hint=hint))
        if ended.status == 0:
            problem, hint = f"the command exited with status 0 and without {RESULT}", "write it last"
            raise Broken("contract", Complaint(problem, asked.paths.result, f"{hint}; {HINT}"))
        if ended.status == STOPPED:
            problem = "the command exited with status 130, stopped, and nobody had asked it to"
            raise Broken("killed", Complaint(problem, hint="see its log"))
        if left or ended.status in TOLD_BY_STATUS:
            say(f"the command exited with status {ended.status}{left}")
        return 1 if ended.status in TOLD_BY_STATUS else ended.status

    def _result(self, asked: RunFile) -> ResultFile | None:
        path = Path(asked.paths.result)
        try:
            with open(path, "rb") as file:
                content = file.read(LONGEST + 1)
        except FileNotFoundError:
            return None
        try:
            return read_result(content, asked, str(path))
        except UserError as error:
            raise Broken("contract", error) from None

    def _record(self, given: ResultFile, ended: Ended, asked: RunFile, follower: Follower) -> None:
        flags = (f"exit_{ended.status}",) if ended.status else ()
        result = make_result(self.member.run, self.job.data.eval_id, given, flags)
        follower.end(result.loss)
        wall, tokens = follower.seconds, self.member.run.tokens
        seen = Provenance(
            wall_seconds=wall,
            tokens_per_second=given.tokens_per_second or tokens / wall,
            mfu=given.mfu,
            peak_memory_bytes=given.peak_memory_bytes,
            device=given.device,
            cpu_seconds=round(ended.cpu_seconds, 3),
            flops_spent=self.member.flops_spent,
            started=self.began,
            finished=now(),
            resumed=int(asked.resumed),
            lease_token=self.lease.token,
            rules=self.member.rules,
        )
        self.lease.check()
        record = Record(run_id=asked.run_id, result=result, execution=seen)
        if not create_json(self.run_folder / "record.json", record.to_json()):
            raise LostLease(f"run {asked.run_id} was recorded by another process")
        (self.run_folder / "error.json").unlink(missing_ok=True)
        if not self.job.execution.keep_final:
            shutil.rmtree(asked.paths.checkpoints, ignore_errors=True)
        say(f"{now()} {asked.run_id} {result.status} loss {result.loss}")


def end_earlier(folder: Path) -> int:
    """Kill the command of an earlier start, where its supervisor stalled on this machine: the lease that it
    ran under is ours. Returns the step that it had resumed from."""
    try:
        earlier = read(CommandStart, folder / START)
    except UserError:  # damaged
        earlier = None
    if earlier is None:
        return 0
    deadline = time.monotonic() + KILL_SECONDS
    while earlier.keeper.runs_here and time.monotonic() < deadline:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(earlier.keeper.pid, KILL)
        time.sleep(LOOK_SECONDS)
    return earlier.resumed_from


def _filled(word: str, places: dict[str, str]) -> str:
    for place, path in places.items():
        word = word.replace(place, path)
    return word
