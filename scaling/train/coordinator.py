"""``python -m scaling.train.coordinator PORT HOSTS SECONDS``: jax's coordination service, by itself.

It ends when its standard input has been closed for long enough that every host knows: the first host is gone.
"""

from __future__ import annotations

import socket
import sys
import time

PORT_SECONDS = 120.0  # for which the port of a service before this one is waited for


def main(port: int, hosts: int, seconds: float) -> None:
    from jax._src.lib import _jax  # pyright: ignore[reportPrivateImportUsage]

    _await_free(port)
    patience = int(4 * seconds) + 60  # the roll call is first, and says more
    service = _jax.get_distributed_runtime_service(f"[::]:{port}", hosts, heartbeat_timeout=patience)
    while sys.stdin.buffer.read(4096):
        pass
    time.sleep(seconds + 5)
    del service


def _await_free(port: int) -> None:
    """Wait until nothing answers at the port: the service of a start before may last a little longer."""
    deadline, told = time.monotonic() + PORT_SECONDS, False
    while _answers(port):
        if time.monotonic() > deadline:
            sys.exit(f"SCALING_COORDINATOR: port {port} is in use; choose another one")
        if not told:
            print(f"waiting until port {port} is free", flush=True)
            told = True
        time.sleep(0.5)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("localhost", port), timeout=1):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
