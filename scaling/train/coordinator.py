"""Where the hosts of a job meet: the first one answers at the address that all were given, says who is
missing, and where the coordination service of jax is.

``python -m scaling.train.coordinator PORT HOSTS SECONDS`` is that service, in a process of its own. It ends
when its standard input has been closed for long enough that every host knows: the first host is gone.
"""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from scaling.errors import Complaint, UserError
from scaling.store.failure import STOPPED

ADDRESS = "SCALING_COORDINATOR"
HINT = "start all hosts of the job, and see whether each reaches this address"
JOIN_SECONDS = 300  # for which a host waits for the others when it starts
SAY_AFTER = (5, 30, 60, 120, 180, 240)  # seconds of waiting
WAIT_SECONDS, CALL_SECONDS = 0.25, 5.0
GONE_SECONDS = 10.0  # after which a host that waited, and came again and again, is taken for gone
CONNECT_SECONDS = 60  # for which all, once they have met, wait for the service


def patience(seconds: float) -> int:
    """Return after how many seconds jax's own check of hosts fails: the roll call is first, and says more."""
    return int(4 * seconds) + 60


def open_service(hosts: int, seconds: float) -> tuple[int, subprocess.Popen[bytes]]:
    """Start the coordination service at a free port."""
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    argv = [sys.executable, "-m", "scaling.train.coordinator", str(port), str(hosts), str(seconds)]
    return port, subprocess.Popen(argv, stdin=subprocess.PIPE, start_new_session=True)


class Missing(UserError):
    """Some hosts of a job did not come."""


class Visit(NamedTuple):
    """What a host says to the first one, until all are there."""

    job: str
    host: int


class Reply(NamedTuple):
    """What the first host answers: its job, the port of the service, and which hosts are not there."""

    job: str
    service: int
    missing: list[int]


@dataclass
class Meeting:
    """Of ``count`` hosts of a job at ``address``, that of the first one. ``stop_asked`` tells whether this
    one was asked to stop: its process ends then, while it waits."""

    job: str
    count: int
    address: str
    stop_asked: Callable[[], bool] = lambda: False
    _began: float = field(default_factory=time.monotonic)
    _visits: dict[int, float] = field(default_factory=dict)  # at the first host: when each came last
    _complete: bool = False
    _said: int = 0

    @property
    def host(self) -> str:
        return self.address.rpartition(":")[0]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def lead(self, service: int) -> None:
        """Wait for the others, at the first host, and tell each of them the port of the service. Whoever
        comes later, as long as this process lives, is told which job this is.

        Raises:
            UserError: the port is in use.
            Missing: not all come.
        """
        server = _listen(self.port)

        def run() -> None:
            while True:
                with suppress(OSError, ValueError, TypeError), server.accept()[0] as visitor:
                    visitor.settimeout(CALL_SECONDS)
                    visit = Visit(**json.loads(visitor.makefile().readline()))
                    if visit.job == self.job:
                        self._visits[visit.host] = time.monotonic()
                    reply = Reply(self.job, service, self.missing())
                    visitor.sendall(json.dumps(reply._asdict()).encode() + b"\n")

        threading.Thread(target=run, daemon=True, name="coordinator").start()
        while missing := self.missing():
            self._wait(missing)

    def missing(self) -> list[int]:
        """Return, at the first host, who has not come or does not come any more; nobody once all were
        there."""
        now, last = time.monotonic(), self._visits
        gone = [n for n in range(1, self.count) if n not in last or now - last[n] > GONE_SECONDS]
        self._complete = self._complete or not gone
        return [] if self._complete else gone

    def follow(self, number: int) -> int:
        """Wait for the others, at host ``number``; return the port of the service.

        Raises:
            UserError: the first host is at another job.
            Missing: not all come, or the first one is gone.
        """
        missing: list[int] | None = None
        while True:
            try:
                reply = _call((self.host, self.port), Visit(self.job, number))
            except (OSError, ValueError, TypeError) as error:  # or something else answers
                if missing is not None and isinstance(error, ConnectionRefusedError):
                    problem = f"the first host, at {self.address}, has gone; it waited for {_named(missing)}"
                    raise Missing(Complaint(problem, ADDRESS, HINT)) from None
                self._wait(missing or [0])
                continue
            if reply.job != self.job:
                message = (
                    f"the first host, at {self.address}, trains job {reply.job}, and this one {self.job}"
                )
                raise UserError(Complaint(message, ADDRESS, "start all hosts with the same job folder"))
            if not (missing := reply.missing):
                return reply.service
            self._wait(missing)

    def _wait(self, missing: list[int]) -> None:
        """Let a moment pass; say now and then for whom."""
        seconds = time.monotonic() - self._began
        who = f"{len(missing)} of {self.count} hosts at {self.address}: {_named(missing)}"
        if self.stop_asked():
            print(f"asked to stop while waiting for {who}", flush=True)
            sys.exit(STOPPED)
        if seconds > JOIN_SECONDS:
            message = f"waited {JOIN_SECONDS} s for {who}"
            raise Missing(Complaint(message, ADDRESS, HINT))
        if self._said < len(SAY_AFTER) and seconds > SAY_AFTER[self._said]:
            self._said += 1
            print(f"waiting for {who} ({JOIN_SECONDS} s at most)", flush=True)
        time.sleep(WAIT_SECONDS)


def _named(numbers: list[int]) -> str:
    """Name some hosts, at most ten."""
    names = ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
    return f"host {names}" if len(numbers) == 1 else f"hosts {names}"


def _listen(port: int) -> socket.socket:
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except OSError as error:
        hint = "choose another port, or end what uses it"
        raise UserError(Complaint(f"port {port}: {error.strerror}", ADDRESS, hint)) from None


def _call(address: tuple[str, int], visit: Visit) -> Reply:
    with socket.create_connection(address, timeout=CALL_SECONDS) as first:
        first.sendall(json.dumps(visit._asdict()).encode() + b"\n")
        return Reply(**json.loads(first.makefile().readline()))


def main(port: int, hosts: int, seconds: float) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):  # which may go to all processes of a host: it ends last
        signal.signal(number, signal.SIG_IGN)
    from jax._src.lib import _jax  # pyright: ignore[reportPrivateImportUsage]

    service = _jax.get_distributed_runtime_service(f"[::]:{port}", hosts, heartbeat_timeout=patience(seconds))
    while sys.stdin.buffer.read(4096):
        pass
    time.sleep(seconds + 5)
    del service


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
