"""Where the hosts of a job meet: the first one answers at the address that all were given, and says where the
coordination service of jax is.

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
from contextlib import suppress

from scaling.errors import Complaint, UserError

ADDRESS = "SCALING_COORDINATOR"
JOIN_SECONDS = 300  # for which a host waits for the others when it starts


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


def answer(port: int, job: str, service: int) -> None:
    """Tell whoever comes to ``port``, as long as this process lives, which job this is and where its service.

    Raises:
        UserError: the port is in use.
    """
    try:
        if socket.has_dualstack_ipv6():
            server = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        else:
            server = socket.create_server(("", port))
    except OSError as error:
        hint = "choose another port, or end what uses it"
        raise UserError(Complaint(f"port {port}: {error.strerror}", ADDRESS, hint)) from None

    def run() -> None:
        while True:
            with suppress(OSError), server.accept()[0] as visitor:
                visitor.sendall(json.dumps({"job": job, "service": service}).encode() + b"\n")

    threading.Thread(target=run, daemon=True, name="coordinator").start()


def ask(host: str, port: int, job: str) -> int:
    """Return the port of the service, once the first host answers.

    Raises:
        UserError: it does not, or is at another job.
    """
    deadline = time.monotonic() + JOIN_SECONDS
    while True:
        with suppress(OSError, ValueError), socket.create_connection((host, port), timeout=5) as first:
            reply = json.loads(first.makefile().readline())
            break
        if time.monotonic() > deadline:
            message = f"no host answers at {host}:{port} for {JOIN_SECONDS} s"
            raise UserError(Complaint(message, ADDRESS, "start all hosts of the job, the first one too"))
        time.sleep(0.2)
    if reply["job"] != job:
        message = f"the first host, at {host}:{port}, trains job {reply['job']}, and this one {job}"
        raise UserError(Complaint(message, ADDRESS, "start all hosts with the same job folder"))
    return reply["service"]


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
