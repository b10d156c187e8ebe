"""The hosts that train one job together, by jax.distributed: the first one decides and writes, the others
follow.

Every host runs the same flow. What may differ from one to another (clocks, signals, files) is asked of the
first host by :meth:`Hosts.agree`. Answers pass through the key-value store of jax's coordination service,
which no device waits for. That service has a process of its own beside the first host's, so that the others
outlive it and can say what happened: without it they are aborted.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import ConfigDict, TypeAdapter

from scaling.errors import Complaint, UserError
from scaling.store.documents import read
from scaling.store.failure import is_exhausted
from scaling.store.lease import Lease
from scaling.store.records import JobSpec
from scaling.train.coordinator import (
    ADDRESS,
    CONNECT_SECONDS,
    JOIN_SECONDS,
    Meeting,
    open_service,
    patience,
)
from scaling.train.process import StopRequest
from scaling.train.roll_call import ORDERLY, RollCall

COUNT, NUMBER = "SCALING_HOSTS", "SCALING_HOST"
HINT = "set it to HOST:PORT of the first host, SCALING_HOSTS to their number and SCALING_HOST to 0, 1, ..."

FOREVER_MS = 10**9  # a host that waits for an answer is ended by the roll call
SHUTDOWN_SECONDS = 20
LEAST_SECONDS = 5.0  # after which a silent host is lost: it speaks twice a second
KEPT_ANSWERS = 1000  # in the store: no host is so far behind

X = TypeVar("X")
Files = dict[str, bytes] | None  # by their names below the results


@dataclass(frozen=True)
class Place:
    """Where this process stands among those of a job, and where they meet."""

    address: str
    count: int
    number: int

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Place | None:
        """Read the environment; None: the process is alone.

        Raises:
            UserError: it says something that is no such place.
        """
        address = environment.get(ADDRESS, "")
        if not address:
            return None
        if address == "auto":
            return _detected(environment)
        if not address.rpartition(":")[2].isdecimal() or ":" not in address:
            raise UserError(Complaint(f"{address!r} is no HOST:PORT", ADDRESS, HINT))
        count, number = _whole(environment, COUNT), _whole(environment, NUMBER)
        if not number < count:
            message = f"{number} is not below {COUNT} = {count}: hosts are counted from 0"
            raise UserError(Complaint(message, NUMBER, HINT))
        return cls(address, count, number)


def _whole(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    if not text.isdecimal():
        raise UserError(Complaint(f"{text!r} is no whole number", name, HINT))
    return int(text)


def _detected(environment: Mapping[str, str]) -> Place | None:
    """Ask jax, which knows Slurm, Open MPI, Kubernetes and the hosts of a TPU; None: one process only."""
    from jax._src.clusters import ClusterEnv

    detect = ClusterEnv.auto_detect_unset_distributed_params
    address, count, number, _ = detect(None, None, None, None, None, JOIN_SECONDS)
    if address is None or count is None or number is None:
        raise UserError(Complaint("'auto': jax sees no cluster here", ADDRESS, HINT))
    if COUNT in environment and count != _whole(environment, COUNT):
        message = f"{environment[COUNT]} hosts were asked for, and the launcher started {count}"
        raise UserError(Complaint(message, COUNT, "make execution.hosts and execution.launcher agree"))
    return Place(address, count, number) if count > 1 else None


@dataclass(eq=False)
class Hosts:
    """This process, ``number`` of ``count``; alone where there is no ``client`` of a coordination service."""

    number: int = 0
    count: int = 1
    client: Any = None
    roll_call: RollCall | None = None
    service: subprocess.Popen[bytes] | None = None
    at_end: list[Callable[[], None]] = field(default_factory=list)
    home: Path | None = None  # the folder of the job, where this host works in another one
    _turn: int = 0

    @property
    def leads(self) -> bool:
        return self.number == 0

    def agree(self, decide: Callable[[], X], kind: Any) -> X:
        """Return on every host what ``decide`` returns on the first one, of a type that JSON can say; all
        call this in the same order."""
        if self.client is None:
            return decide()
        answers = _json_of(kind)
        self._turn += 1
        key = f"answer/{self._turn}"
        if not self.leads:
            return answers.validate_json(self.client.blocking_key_value_get_bytes(key, FOREVER_MS))
        answer = decide()
        self.client.key_value_set_bytes(key, answers.dump_json(answer))
        if self._turn > KEPT_ANSWERS:
            self.client.key_value_delete(f"answer/{self._turn - KEPT_ANSWERS}")
        return answer

    def stop_asked(self, stop: StopRequest) -> bool:
        """Tell whether any host was asked to stop; the same on all."""
        call = self.roll_call
        return self.agree(lambda: stop.asked or (call is not None and call.stop_asked), bool)

    def desk(self, folder: Path) -> Path | None:
        """Return the folder to work in: that of the job for the first host; for the others one that nobody
        reads, with the files that the first one begins with, once it has :meth:`opened` the job. None: it
        cannot have it."""
        if self.leads:
            return folder
        files = self.agree(dict, Files)
        if files is None:
            return None
        self.home, desk = folder, Path(tempfile.mkdtemp(prefix="scaling-host-"))
        self.at_end[:] = [lambda: shutil.rmtree(desk, ignore_errors=True)]
        for name, content in files.items():
            (desk / name).parent.mkdir(parents=True, exist_ok=True)
            (desk / name).write_bytes(content)
        return desk / "jobs" / folder.name

    def opened(self, folder: Path, job: JobSpec, lease: Lease) -> None:
        """Let the others begin, where this host holds the lease of the job."""
        if self.client is None:
            return
        self.at_end.insert(0, lease.release)
        if self.leads:
            self.agree(lambda: _beginning(folder, job), Files)

    def closed(self) -> None:
        """Clear away what was there for a job."""
        for step in self.at_end:
            with suppress(Exception):
                step()
        self.at_end.clear()

    def declined(self) -> None:
        """Tell the others that this host, the first one, cannot have the job."""
        self.agree(lambda: None, Files)

    def on_relief(self, write: Callable[[str], object]) -> None:
        """Let the first host ``write`` down that the job goes on in smaller pieces, when another one ran out
        of memory and ends; it is given why."""
        if self.roll_call is not None and self.leads:
            self.roll_call.relieve = write

    def hold(self, error: Exception) -> None:
        """Wait until it is known whether another host is gone, of which ``error`` may be what is seen here;
        this process ends then."""
        own = isinstance(error, OSError | UserError | MemoryError) or is_exhausted(str(error))
        if self.roll_call is not None and not own:
            time.sleep(self.roll_call.seconds + 3)

    def leave(self, status: int, why: str = "") -> None:
        """End this process where it is one of several; the others end too, unless ``status`` is 0."""
        if self.client is not None:
            self._end(status, why)

    def _end(self, status: int, why: str) -> NoReturn:
        assert self.roll_call is not None
        self.roll_call.part(status, why)
        self.closed()
        if status in ORDERLY:
            import jax

            with suppress(Exception):
                jax.distributed.shutdown()  # waits for the others
            if self.service is not None:
                self.service.kill()
        with suppress(OSError):
            sys.stdout.flush()
        os._exit(status)  # what is left of the collectives would wait for the others


ALONE = Hosts()


@cache
def _json_of(kind: Any) -> TypeAdapter[Any]:
    """Return what writes and reads answers of this type; a file need not be text."""
    return TypeAdapter(kind, config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64"))


def _beginning(folder: Path, job: JobSpec) -> dict[str, bytes]:
    """Return the files of a job and of its runs from which work begins, by their names below the results."""
    results = folder.parent.parent
    files = [path for path in folder.iterdir() if path.suffix in (".json", ".jsonl")]
    runs = [results / "runs" / member.run_id for member in job.runs]
    files += [run / name for run in runs for name in ("metrics.jsonl", "record.json")]
    return {path.relative_to(results).as_posix(): path.read_bytes() for path in files if path.is_file()}


def join(place: Place | None, folder: Path, stop: StopRequest) -> Hosts:
    """Meet the other hosts of the job in ``folder``; before anything else is asked of jax.

    A host counts as lost when it was silent for as long as the owner of a lease may be.

    Args:
        place: of this process; None: alone.
        folder: of the job.
        stop: asked of this process by a signal.

    Raises:
        UserError: they cannot be met, or do not all come.
    """
    if place is None:
        return ALONE
    job = read(JobSpec, folder / "job.json")
    if job is None:
        raise FileNotFoundError(folder / "job.json")
    seconds = max(job.execution.lease_seconds, LEAST_SECONDS)
    import jax
    from jax._src import distributed

    meeting, service = Meeting(folder.name, place.count, place.address, lambda: stop.asked), None
    if place.number == 0:
        port, service = open_service(place.count, seconds)
        meeting.lead(port)
    else:
        port = meeting.follow(place.number)
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        f"{meeting.host}:{port}",
        place.count,
        place.number,
        cluster_detection_method="deactivate",
        initialization_timeout=CONNECT_SECONDS,
        heartbeat_timeout_seconds=patience(seconds),
        shutdown_timeout_seconds=SHUTDOWN_SECONDS,
        coordinator_bind_address="127.0.0.1:0",  # not used: the service has a process of its own
    )
    client = distributed.global_state.client
    hosts = Hosts(place.number, place.count, client, service=service)
    hosts.roll_call = RollCall(client, place.number, place.count, seconds, lambda: stop.asked, hosts.at_end)
    hosts.roll_call.begin()
    return hosts
