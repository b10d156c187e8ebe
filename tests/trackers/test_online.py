"""The real client of W&B and a server: runs that resume, a process that is killed, a server that is slow."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sweep.plans import wait_until
from tests.trackers.studies import Study
from tests.trackers.test_libraries import expected, finish, follow, trained
from tests.trackers.wandb_server import Server, serving

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def at(server: Server, run_id: str) -> dict[int, float]:
    return trained([{"step": row["_step"], **row} for row in server.rows(run_id)])


def test_a_run_continues_on_the_server(tmp_path: Path, server: Server) -> None:
    study = Study(tmp_path / "s", 100, 200)
    run, other = study.ids
    study.train(run, 10, 20, 30)
    study.train(other, *range(10, 200, 10))
    study.end(other, 200)
    said = finish(follow(study, "wandb", "--once", **server.environment))
    assert said[0]["where"] == f"{server.url}/me/tiny"
    assert at(server, run) == expected(10, 20) and at(server, other) == expected(*range(10, 200, 10))
    assert server.ends == {run: [1], other: [0]}, "not at its end, and at its end"
    kept = server.runs[other]
    assert (kept["displayName"], kept["groupName"], kept["jobType"]) == ("w8-s200", "tiny", "fit")
    assert kept["tags"] == ["tiny", "fit"] and server.summaries[other]["loss"] == 2.2
    study.resume(run, 10)
    study.train(run, 20, 30, 40)
    cursor = study.results.path / "trackers" / "state" / "wandb" / "cursor.json"
    cursor.unlink()  # the server knows
    study.end(run, 100)
    finish(follow(study, "wandb", "--once", **server.environment))
    assert at(server, run) == expected(10, 20, 30, 40)
    assert at(server, other) == expected(*range(10, 200, 10))


def test_a_process_that_is_killed_while_it_sends(tmp_path: Path, server: Server) -> None:
    study = Study(tmp_path / "s", 100)
    (run,) = study.ids
    study.train(run, *range(10, 60, 10))
    follows = follow(study, "wandb", **server.environment)
    cursor = study.results.path / "trackers" / "state" / "wandb" / "cursor.json"
    wait_until(lambda: cursor.exists() and run in cursor.read_text(), 60)
    os.kill(follows.pid, signal.SIGKILL)
    follows.wait()
    study.train(run, 60, 70)
    study.end(run, 100)
    finish(follow(study, "wandb", **server.environment))
    assert at(server, run) == expected(*range(10, 80, 10))
    assert server.ends[run][-1] == 0


def test_a_server_that_takes_half_a_minute(tmp_path: Path, server: Server) -> None:
    study = Study(tmp_path / "s", 100)
    study.train(study.ids[0], 10, 20)
    server.seconds = 30
    follows = follow(study, "wandb", **server.environment)
    said, _ = follows.communicate(timeout=60)
    assert follows.returncode in (1, 3) and "where" not in said
    server.seconds = 0
    study.end(study.ids[0], 100)
    finish(follow(study, "wandb", "--once", **server.environment))
    assert at(server, study.ids[0]) == expected(10, 20)
