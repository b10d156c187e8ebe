"""Set up a Slurm of three nodes on this machine, for tests: Debian's packages, as root.

    python tests/slurm/cluster.py start | status | stop

`start` installs and configures what is missing, starts what does not run, and returns when all nodes answer;
a cluster that cannot be mended is started afresh. Exit code: 0 it runs, 1 it failed, 3 it cannot be set up
here. Standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path("/var/lib/scaling-slurm")
CONFIGURATION = Path("/etc/slurm")
NODES = ("n1", "n2", "n3")
PACKAGES = ("slurm-wlm", "munge")
CANNOT = 3
_MADE_HERE = "# Made by tests/slurm/cluster.py"


class CannotSetUp(Exception):
    """This machine is not one that the cluster can be set up on."""


def start() -> None:
    """Have all nodes answer: install, configure, start what does not run; afresh if that does not help."""
    _require_machine()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _install()
        _name_nodes()
        if _configure():
            stop()
        for fresh in (False, True):
            if fresh:
                print("the cluster does not answer: starting it afresh", file=sys.stderr)
                stop()
                shutil.rmtree(FOLDER / "slurmctld", ignore_errors=True)
            _start_munge()
            _start_daemons()
            if _wait_for_nodes(30):
                return
    raise RuntimeError(f"the nodes do not answer: {troubles()}; logs: {FOLDER}/*.log")


def stop() -> None:
    """Cancel all jobs, end the daemons that `start` started, by their pid files."""
    if not troubles():
        subprocess.run(["scancel", "--full", "--user", "root"], capture_output=True, timeout=30)
    for name in (*NODES, "slurmctld", "munged"):
        if pid := daemon(name):
            end(pid, signal.SIGTERM)


def end(pid: int, how: signal.Signals) -> None:
    """Signal a daemon; return when it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)
    deadline = time.monotonic() + 15
    while _alive(pid):
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def daemon(name: str) -> int | None:
    """The process of "slurmctld", "munged" or a node's slurmd, if it runs."""
    command = "slurmd" if name in NODES else name
    try:
        pid = int((FOLDER / f"{name}.pid").read_text())
        started = Path(f"/proc/{pid}/comm").read_text().strip()  # the number may be another process's by now
    except (FileNotFoundError, ValueError):
        return None
    return pid if started == command and _alive(pid) else None


def start_node(node: str) -> None:
    """Start a node's slurmd, unless it runs."""
    if daemon(node) is None:
        _call("slurmd", "-N", node)


def troubles() -> str:
    """Say what keeps the cluster from work; nothing if it is well."""
    try:
        states = node_states()
    except (FileNotFoundError, subprocess.SubprocessError):
        return "Slurm is not installed, or slurmctld does not answer"
    working = ("idle", "mixed", "allocated", "completing", "planned")
    return ", ".join(f"{node} is {states.get(node)}" for node in NODES if states.get(node) not in working)


def node_states() -> dict[str, str]:
    """Ask Slurm for the state of each node: a star says that it does not answer."""
    command = ["sinfo", "--noheader", "--Node", "--partition=main", "--format=%N %T"]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    return dict(line.split() for line in asked.stdout.splitlines())


def _require_machine() -> None:
    if os.geteuid() != 0:
        raise CannotSetUp("not root")
    if shutil.which("apt-get") is None:
        raise CannotSetUp("no apt-get: not a Debian")
    written = CONFIGURATION / "slurm.conf"
    if written.exists() and not written.read_text().startswith(_MADE_HERE):
        raise CannotSetUp(f"{written} is of another cluster")


def _install() -> None:
    if all(shutil.which(command) for command in ("slurmctld", "slurmd", "sbatch", "munged")):
        return
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for arguments in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *PACKAGES]):
        try:
            done = subprocess.run(
                ["apt-get", *arguments], env=environment, capture_output=True, text=True, timeout=100
            )
        except subprocess.TimeoutExpired:
            raise CannotSetUp(f"apt-get {arguments[0]} took more than 100 s") from None
        if done.returncode:
            raise CannotSetUp(f"apt-get {arguments[0]} failed: {done.stderr.strip().splitlines()[-1:]}")


def _name_nodes() -> None:
    """Let the names of nodes mean this machine: jobs on several of them meet at such a name."""
    try:
        socket.gethostbyname(NODES[0])
    except OSError:
        with Path("/etc/hosts").open("a") as hosts:
            hosts.write(f"127.0.0.1 {' '.join(NODES)}\n")


def _configure() -> bool:
    """Write the configuration. Returns whether that changed it."""
    for folder in ("slurmctld", *NODES):
        (FOLDER / folder).mkdir(exist_ok=True)
    for device in (FOLDER / "gpu0", FOLDER / "gpu1"):
        if not device.is_char_device():
            device.unlink(missing_ok=True)
            os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))  # as /dev/null
    changed = False
    for name in ("slurm.conf", "gres.conf"):
        template = Path(__file__).with_name(name).read_text()
        text = template.format(host=socket.gethostname().split(".")[0], folder=FOLDER)
        path = CONFIGURATION / name
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            changed = True
    return changed


def _start_munge() -> None:
    if subprocess.run("munge -n | unmunge", shell=True, capture_output=True).returncode == 0:
        return
    if not Path("/etc/munge/munge.key").exists():
        _call("mungekey", "--create")
        shutil.chown("/etc/munge/munge.key", "munge", "munge")
    runtime = Path("/run/munge")
    runtime.mkdir(exist_ok=True)
    shutil.chown(runtime, "munge", "munge")
    _call("setpriv", "--reuid=munge", "--regid=munge", "--init-groups", "munged", "--force")
    (FOLDER / "munged.pid").write_text((runtime / "munged.pid").read_text())


def _start_daemons() -> None:
    if daemon("slurmctld") is None:
        _call("slurmctld")
    for node in NODES:
        start_node(node)


def _wait_for_nodes(seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while troubles():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def _call(*command: str) -> None:
    """Start something that goes to the background by itself."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, start_new_session=True, timeout=60
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def main(arguments: list[str] | None = None) -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("what", choices=("start", "status", "stop"))
    asked = options.parse_args(arguments).what
    try:
        if asked == "start":
            start()
        elif asked == "stop":
            stop()
            return 0
    except (CannotSetUp, PermissionError) as reason:
        print(f"Slurm cannot be set up here: {reason}", file=sys.stderr)
        return CANNOT
    except (RuntimeError, subprocess.TimeoutExpired) as failure:
        print(f"Slurm did not start: {failure}", file=sys.stderr)
        return 1
    wrong = troubles()
    print(wrong or f"{', '.join(NODES)} answer")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
