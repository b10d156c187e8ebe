"""Leases: one holder, tokens that grow, beats that others compare, takers and the taken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from scaling.store.lease import NAME, Busy, LeaseWatch, LostLease, acquire, look
from scaling.store.process import Process

ROOT = str(Path(__file__).resolve().parents[1])


def of_another_machine(folder: Path) -> None:
    """Make the lease one whose owner cannot be looked up here."""
    value = json.loads((folder / NAME).read_bytes())
    value["owner"]["machine"] = "elsewhere"
    (folder / NAME).write_bytes(json.dumps(value).ljust(511).encode() + b"\n")


def test_one_holder_and_a_token_that_grows(tmp_path: Path) -> None:
    first = acquire(tmp_path)
    with pytest.raises(Busy, match=f"process {os.getpid()} on"):
        acquire(tmp_path)
    first.check()
    first.release()
    second = acquire(tmp_path)
    assert (first.token, second.token) == (1, 2)
    second.check()
    with pytest.raises(LostLease, match="token 1 is void"):
        first.check()
    first.beat()  # late: it must not touch the successor's file
    second.check()
    assert os.listdir(tmp_path) == [NAME]


def test_a_beat_is_a_change_and_only_stalling_makes_it_stale(tmp_path: Path) -> None:
    held = acquire(tmp_path)
    watch = LeaseWatch()
    for _ in range(8):
        assert watch.held(tmp_path, 0.3)
        held.beat()
        time.sleep(0.1)
    os.utime(tmp_path / NAME, (0, 0))  # clocks and times of files say nothing
    assert watch.held(tmp_path, 0.3)
    time.sleep(0.4)
    assert not watch.held(tmp_path, 0.3)
    stale = watch.mark
    held.beat()
    with pytest.raises(Busy):  # it came back before the taker acted
        acquire(tmp_path, stale)
    held.check()
    watch.held(tmp_path, 0.3)
    taker = acquire(tmp_path, watch.mark)
    assert taker.token == 2
    with pytest.raises(LostLease):
        held.check()


def test_whoever_has_ended_here_is_not_waited_for(tmp_path: Path) -> None:
    code = f"import sys; sys.path.insert(0, {ROOT!r}); from pathlib import Path\n"
    code += "from scaling.store.lease import acquire; acquire(Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    seen = look(tmp_path)
    assert seen is not None and seen.free and not seen.released
    assert not LeaseWatch().held(tmp_path, 1e9)
    of_another_machine(tmp_path)
    assert LeaseWatch().held(tmp_path, 1e9)  # of another machine nothing is known
    with pytest.raises(Busy):
        acquire(tmp_path)


def test_a_process_is_known_by_its_start_not_by_its_number_alone() -> None:
    me = Process.here()
    assert not me.gone
    if Path("/proc/self/stat").exists():  # ticks since boot, which do not move when a clock is set
        assert me.started == Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    assert Process(me.host, me.machine, me.pid, "1").gone  # the number was given to another process
    assert not Process(me.host, "", me.pid, "1").gone


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\x00" * 512, b'{"token": "x", "owner": 3}'])
def test_a_damaged_lease_is_waited_for_then_taken(tmp_path: Path, content: bytes) -> None:
    (tmp_path / NAME).write_bytes(content)
    watch = LeaseWatch()
    assert watch.held(tmp_path, 0.1)
    with pytest.raises(Busy):
        acquire(tmp_path)
    time.sleep(0.15)
    assert not watch.held(tmp_path, 0.1)
    acquire(tmp_path, watch.mark).check()


def test_a_lease_that_is_removed_is_lost_but_one_put_back_at_once_is_not(tmp_path: Path) -> None:
    held = acquire(tmp_path)
    os.rename(tmp_path / NAME, tmp_path / "away")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(held.check)
        time.sleep(0.05)
        os.rename(tmp_path / "away", tmp_path / NAME)
        waiting.result()
    (tmp_path / NAME).unlink()
    with pytest.raises(LostLease, match="was removed"):
        held.check()


def test_a_taker_killed_halfway_does_not_turn_tokens_back(tmp_path: Path) -> None:
    for _ in range(3):
        acquire(tmp_path).release()
    os.rename(tmp_path / NAME, tmp_path / f"{NAME}.3.{'ab' * 16}")
    assert acquire(tmp_path).token == 4
    assert os.listdir(tmp_path) == [NAME]


RACE = """
import sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from scaling.store.lease import Busy, LostLease, acquire
folder = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
mine = 0
while mine < 20:
    try:
        lease = acquire(folder)
    except Busy:
        continue
    # a counter without any lock: two holders at once would lose increments
    count = int((folder / "count").read_text())
    lease.check()
    (folder / "count").write_text(str(count + 1))
    mine += 1
    lease.release()
print(mine)
"""


def test_many_processes_never_hold_it_together(tmp_path: Path) -> None:
    (tmp_path / "count").write_text("0")
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path), ROOT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for racer in racers:
        assert racer.stdout and racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("go\n")
        racer.stdin.flush()
    turns = [int(racer.communicate()[0]) for racer in racers]
    assert int((tmp_path / "count").read_text()) == sum(turns) == 4 * 20
    seen = look(tmp_path)
    assert seen is not None and seen.token == sum(turns)
