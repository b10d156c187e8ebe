"""``python -m tests.train.launcher COMMAND ...``: starts it on two hosts, as srun would: both are sent what
comes in, and signals."""

import os
import signal
import socket
import subprocess
import sys
import threading

with socket.socket() as free:
    free.bind(("", 0))
    port = free.getsockname()[1]
place = {"SCALING_COORDINATOR": f"127.0.0.1:{port}", "SCALING_HOSTS": "2"}
hosts = [
    subprocess.Popen(
        sys.argv[1:], stdin=subprocess.PIPE, env=os.environ | place | {"SCALING_HOST": str(number)}
    )
    for number in range(2)
]


def forward() -> None:
    while content := os.read(0, 4096):
        for host in hosts:
            os.write(host.stdin.fileno(), content)
    for host in hosts:
        host.stdin.close()


signal.signal(signal.SIGTERM, lambda number, _: [host.send_signal(number) for host in hosts])
threading.Thread(target=forward, daemon=True).start()
os._exit(max(host.wait() for host in hosts))
