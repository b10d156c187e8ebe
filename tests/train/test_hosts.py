"""Several hosts train one job: two processes on CPU, and the parts that need none."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from scaling.counts.lowering import MeshSizes
from scaling.errors import UserError
from scaling.run import run_id
from scaling.store.failure import HUNG, LOST_HOST, RELIEVED, STOPPED
from scaling.store.lease import look
from scaling.store.metrics import last_row
from scaling.train import coordinator
from scaling.train.averages import Averages
from scaling.train.coordinator import Meeting, Missing
from scaling.train.feed import Way
from scaling.train.hosts import ALONE, Files, Hosts, Place
from scaling.train.roll_call import RollCall
from scaling.train.sharding import make_mesh
from tests.train.jobs import finish, results_of, start, steps_of, write_job
from tests.train.runs import make_run


def free_port():
    with socket.socket() as free:
        free.bind(("", 0))
        return free.getsockname()[1]


class Pair:
    """Two processes at one job."""

    def __init__(self, folder, *command):
        place = {"SCALING_COORDINATOR": f"127.0.0.1:{free_port()}", "SCALING_HOSTS": "2"}
        self.folder = folder
        self.hosts = [
            subprocess.Popen(
                [sys.executable, "-m", *(command or ["scaling.train"]), str(folder)],
                env=os.environ | place | {"SCALING_HOST": str(number)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for number in range(2)
        ]

    def reach(self, step):
        """Wait until the trunk has a row of this step."""
        curve = self.folder / "trunk.jsonl"
        while (row := last_row(curve)) is None or row["step"] < step:
            assert all(host.poll() is None for host in self.hosts), self.ended()
            time.sleep(0.01)

    def ended(self):
        """Return the exit statuses, and what was printed."""
        texts = [host.communicate(timeout=120)[0] for host in self.hosts]
        return [host.returncode for host in self.hosts], texts


def execution_of(results, run):
    return json.loads((results / "runs" / run_id(run) / "record.json").read_text())["execution"]


def assert_as_alone(results, undisturbed, runs):
    """Sums over two devices are taken in another order."""
    for run, ours, alone in zip(
        runs, results_of(results, runs).values(), results_of(undisturbed, runs).values(), strict=True
    ):
        assert ours["status"] == "ok" and ours["loss"] == pytest.approx(alone["loss"], rel=2e-3)
        assert not (results / "runs" / run_id(run) / "error.json").exists()
        steps = steps_of(results, run)
        assert steps == sorted(set(steps)) and steps[-1] == run.steps


@pytest.mark.slow
@pytest.mark.parametrize("first", ["pair", "alone"])
def test_what_two_hosts_save_one_resumes_and_the_other_way_round(undisturbed, runs, index, tmp_path, first):
    folder = write_job(tmp_path, runs[1:], index, checkpoint_seconds=0.0)
    if first == "pair":
        pair = Pair(folder)
        pair.reach(40)
        pair.hosts[1].send_signal(signal.SIGTERM)  # not the one that decides
        statuses, texts = pair.ended()
        assert statuses == [STOPPED, STOPPED], texts
        finish(folder)
    else:
        alone = start(folder)
        while not list((folder / "checkpoints").glob("trunk/*")):
            time.sleep(0.01)
        alone.send_signal(signal.SIGTERM)
        alone.communicate(timeout=60)
        assert alone.returncode == STOPPED
        statuses, texts = Pair(folder).ended()
        assert statuses == [0, 0], texts
    assert_as_alone(tmp_path, undisturbed, runs[1:])
    assert execution_of(tmp_path, runs[1])["resumed"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_one_host_killed_the_other_says_so_and_the_pair_resumes(undisturbed, runs, index, tmp_path, killed):
    folder = write_job(tmp_path, runs[1:], index, checkpoint_seconds=0.0, lease_seconds=5.0)
    pair = Pair(folder)
    pair.reach(40)
    pair.hosts[killed].kill()
    began = time.monotonic()
    statuses, texts = pair.ended()
    assert time.monotonic() - began < 60
    assert statuses[killed] == -signal.SIGKILL and statuses[1 - killed] == LOST_HOST, texts
    lines = texts[1 - killed].splitlines()
    (line,) = [line for line in lines if "Gloo" not in line and " ok loss " not in line]
    assert re.match(rf"host {killed} of 2 \(.*process {pair.hosts[killed].pid}\) has not been heard of", line)
    assert not list(tmp_path.glob("runs/*/error.json"))
    statuses, texts = Pair(folder).ended()
    assert statuses == [0, 0], texts
    assert_as_alone(tmp_path, undisturbed, runs[1:])
    assert execution_of(tmp_path, runs[1])["resumed"]


@pytest.mark.slow
@pytest.mark.parametrize("exhausted", [0, 1])
def test_one_host_out_of_memory_and_the_pair_goes_on_in_smaller_pieces(index, tmp_path, exhausted):
    run = make_run(steps=60, fingerprint=index.fingerprint)
    whole, cut = (write_job(tmp_path / name, [run], index, checkpoint_seconds=0.0) for name in "ab")
    finish(whole)
    pair = Pair(cut, "tests.train.exhausted", str(exhausted))
    statuses, texts = pair.ended()
    assert statuses == [RELIEVED, RELIEVED], texts
    assert "out of memory: goes on from its checkpoints with micro_batches = 2 (RuntimeError: RES" in texts[0]
    other = texts[1 - exhausted]
    assert re.search(rf"host {exhausted} of 2 \(.*\) ended with status 81: RuntimeError: RESOURCE_EXH", other)
    assert json.loads((cut / "lowering.json").read_text())["used"]["micro_batches"] == 2
    seen = look(cut)
    assert seen and seen.released and not list(tmp_path.glob("*/runs/*/error.json"))
    statuses, texts = Pair(cut, "tests.train.exhausted", str(exhausted)).ended()
    assert statuses == [0, 0], texts
    execution = execution_of(tmp_path / "b", run)
    assert execution["resumed"] == 1 and execution["lowering"]["micro_batches"] == 2
    assert_as_alone(tmp_path / "b", tmp_path / "a", [run])


SPEC = """
study: two
data: {corpus: state-of-the-union, tokenizer: bytes, context: 32}
family: {kind: width-dial, depth: 1, widths: [16, 24], head_dim: 8}
recipe:
  optimizer: {kind: adamw, learning_rate: 0.01}
  schedule: {kind: wsd, warmup: 10 steps, decay: 20 %}
  batch_tokens: 128
design: {kind: grid, tokens: [10000, 16000]}
"""


@pytest.mark.slow
def test_a_study_is_trained_by_two_hosts(tmp_path):
    spec, results = tmp_path / "two.yaml", tmp_path / "two"
    launcher = f"{sys.executable} -m tests.train.launcher"
    spec.write_text(f"{SPEC}execution: {{hosts: 2, launcher: {launcher}, device: cpu, lease_seconds: 5}}\n")
    command = [sys.executable, "-m", "scaling.cli", "run", str(spec), "--results", str(results)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    records = [json.loads(path.read_text()) for path in results.glob("runs/*/record.json")]
    assert len(records) == 4 and all(2 < record["result"]["loss"] < 3.5 for record in records)
    assert all(record["execution"]["devices"] == 2 for record in records)
    for folder in (results / "jobs").iterdir():
        assert " ok loss " in (folder / "log.txt").read_text()


class Store:
    """A coordination service in memory."""

    def __init__(self):
        self.values, self.changed = dict[str, object](), threading.Condition()

    def key_value_set(self, key, value, allow_overwrite=False):
        with self.changed:
            assert allow_overwrite or key not in self.values
            self.values[key] = value
            self.changed.notify_all()

    key_value_set_bytes = key_value_set

    def key_value_dir_get(self, prefix):
        return [(key, value) for key, value in self.values.items() if key.startswith(prefix)]

    def key_value_delete(self, key):
        del self.values[key]

    def blocking_key_value_get_bytes(self, key, _):
        with self.changed:
            assert self.changed.wait_for(lambda: key in self.values, 10)
            return self.values[key]


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        ({"step": (8, None)}, dict[str, tuple[int, None]]),
        ((8, Averages((0.9,), {"a/b": (1, 2)})), tuple[int, Averages] | None),
        ({"lease": b"\xff\x00"}, Files),
        (Path("/a/b"), Path | None),
        (None, Path | None),
        ("device", Way),
    ],
)
def test_the_first_host_decides(found, kind):
    store, asked = Store(), list[int]()
    hosts = [Hosts(number, 2, store) for number in range(2)]
    answers = dict[int, list[object]]()

    def decide(number):
        asked.append(number)
        return found

    def follow(number):
        answers[number] = [hosts[number].agree(lambda: decide(number), kind) for _ in range(3)]

    threads = [threading.Thread(target=follow, args=[number]) for number in (1, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers[0] == answers[1] == [found] * 3 and asked == [0, 0, 0]
    assert ALONE.agree(lambda: 7, int) == 7


@pytest.mark.parametrize(
    "environment, place",
    [
        ({}, None),
        ({"SCALING_COORDINATOR": ""}, None),
        (
            {"SCALING_COORDINATOR": "node-1:7000", "SCALING_HOSTS": "2", "SCALING_HOST": "1"},
            Place("node-1:7000", 2, 1),
        ),
    ],
)
def test_the_environment_says_whose_place_this_is(environment, place):
    assert Place.of(environment) == place


@pytest.mark.parametrize(
    "changed, problem",
    [
        ({"SCALING_COORDINATOR": "node-1"}, "'node-1' is no HOST:PORT"),
        ({"SCALING_HOSTS": "two"}, "SCALING_HOSTS: 'two' is no whole number"),
        ({"SCALING_HOST": ""}, "SCALING_HOST: '' is no whole number"),
        ({"SCALING_HOST": "2"}, "2 is not below SCALING_HOSTS = 2"),
    ],
)
def test_a_place_that_is_none_is_refused(changed, problem):
    environment = {"SCALING_COORDINATOR": "node-1:7000", "SCALING_HOSTS": "2", "SCALING_HOST": "1"} | changed
    with pytest.raises(UserError, match=re.escape(problem)):
        Place.of(environment)


def test_a_cluster_is_seen_by_jax_and_has_as_many_hosts_as_asked_for(monkeypatch):
    from jax._src.clusters import ClusterEnv

    monkeypatch.setattr(
        ClusterEnv, "auto_detect_unset_distributed_params", lambda *_: ("node-1:7000", 2, 1, [1])
    )
    asked = {"SCALING_COORDINATOR": "auto", "SCALING_HOSTS": "2"}
    assert Place.of(asked) == Place("node-1:7000", 2, 1)
    with pytest.raises(UserError, match="4 hosts were asked for, and the launcher started 2"):
        Place.of(asked | {"SCALING_HOSTS": "4"})
    monkeypatch.undo()
    with pytest.raises(UserError, match="jax sees no cluster here"):
        Place.of(asked)


def test_a_mesh_that_leaves_a_host_without_work_is_refused(monkeypatch):
    monkeypatch.setattr("scaling.train.sharding.jax.process_count", lambda: 2)
    with pytest.raises(UserError, match="= 1 devices are those of 1 of 2 hosts"):
        make_mesh(MeshSizes(), 8)


def meet(port, count, *numbers, job="a" * 12):
    """Let these hosts come; returns, as they end, what each was told."""
    ended = dict[int, object]()

    def come(number):
        meeting = Meeting(job, count, f"127.0.0.1:{port}")
        try:
            ended[number] = meeting.follow(number) if number else meeting.lead(7001)
        except BaseException as error:
            ended[number] = error

    for number in numbers:
        threading.Thread(target=come, args=[number], daemon=True).start()
    return ended


def until(condition):
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.01)


def test_hosts_of_one_job_meet_and_those_of_another_do_not():
    port = free_port()
    ended = meet(port, 3, 2, 0)
    with pytest.raises(UserError, match=r"trains job a{12}, and this one b{12}"):
        until(lambda: Meeting("b" * 12, 3, f"127.0.0.1:{port}").follow(1))
    assert not ended
    last = meet(port, 3, 1)
    until(lambda: len(ended | last) == 3)
    assert ended | last == {0: None, 1: 7001, 2: 7001}
    with pytest.raises(UserError, match=f"port {port}: "):
        Meeting("a" * 12, 3, f"127.0.0.1:{port}").lead(7002)


def test_hosts_that_wait_say_for_whom_and_not_for_ever(monkeypatch, capsys):
    monkeypatch.setattr(coordinator, "SAY_AFTER", (0.1, 0.3, 9.0))
    monkeypatch.setattr(coordinator, "JOIN_SECONDS", 1)
    port = free_port()
    ended = meet(port, 4, 1, 0)
    until(lambda: len(ended) == 2)
    assert {type(error) for error in ended.values()} == {Missing}
    missing = f"2 of 4 hosts at 127.0.0.1:{port}: hosts 2, 3"
    assert f"waited 1 s for {missing}" in str(ended[0])
    lines = [line for line in capsys.readouterr().out.splitlines() if missing in line]
    assert lines and {*lines} == {f"waiting for {missing} (1 s at most)"} and len(lines) <= 4


def test_a_first_host_that_does_not_come_is_missed(monkeypatch):
    monkeypatch.setattr(coordinator, "JOIN_SECONDS", 0.1)
    port = free_port()
    with pytest.raises(Missing, match=f"waited 0.1 s for 1 of 2 hosts at 127.0.0.1:{port}: host 0"):
        Meeting("a" * 12, 2, f"127.0.0.1:{port}").follow(1)


def test_a_host_that_came_and_went_is_missed(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(coordinator.time, "monotonic", lambda: now[0])
    meeting = Meeting("a" * 12, 3, "node-1:7000")
    meeting._visits[1] = 0.0
    assert meeting.missing() == [2]
    now[0] = 11.0
    meeting._visits[2] = 11.0
    assert meeting.missing() == [1]
    meeting._visits[1] = 12.0
    assert meeting.missing() == []
    now[0] = 100.0
    assert meeting.missing() == [], "they have met"


def test_a_host_that_waits_stops_when_asked(capsys):
    meeting = Meeting("a" * 12, 2, f"127.0.0.1:{free_port()}", lambda: True)
    with pytest.raises(SystemExit, match=str(STOPPED)):
        meeting.follow(1)
    assert "asked to stop while waiting for 1 of 2 hosts" in capsys.readouterr().out


@pytest.fixture
def call(monkeypatch):
    """The roll call of host 0 of 2, without threads; ends by an exception."""

    class Ended(Exception):
        pass

    def end(status):
        raise Ended(status)

    monkeypatch.setattr("scaling.train.roll_call.os._exit", end)
    monkeypatch.setattr("scaling.train.roll_call.time.sleep", lambda seconds: None)
    monkeypatch.setattr(threading.Thread, "start", lambda self: None)
    store, released = Store(), list[str]()
    call = RollCall(store, 0, 2, 3.0, lambda: False, [lambda: released.append("lease")])
    call.begin()
    return SimpleNamespace(call=call, store=store, released=released, Ended=Ended)


def say(store, beat, **what):
    content = {"name": "node-2, process 7", "beat": beat, "stop": False, "left": None, "why": ""} | what
    store.values["host/1"] = json.dumps(content)


def test_a_silent_host_is_lost(call, capsys):
    for beat in range(20):
        say(call.store, beat)
        call.call.listen()
        call.call.judge()
    assert not call.call.stop_asked
    with pytest.raises(call.Ended, match=str(LOST_HOST)):
        for _ in range(20):
            call.call.listen()
            call.call.judge()
    said = capsys.readouterr().out
    assert said.startswith("host 1 of 2 (node-2, process 7) has not been heard of for 3 s;")
    assert call.released == ["lease"]


def test_a_host_that_was_asked_to_stop_stops_all(call):
    say(call.store, 1, stop=True)
    call.call.listen()
    assert call.call.stop_asked


def test_a_host_that_failed_takes_the_others_along(call, capsys):
    say(call.store, 1, left=1, why="its disk")
    call.call.listen()
    with pytest.raises(call.Ended, match="1"):
        call.call.judge()
    assert "host 1 of 2 (node-2, process 7) ended with status 1: its disk;" in capsys.readouterr().out


def test_where_another_host_ran_out_of_memory_the_first_writes_what_follows_and_ends(call):
    reasons = list[str]()
    call.call.relieve = reasons.append
    say(call.store, 1, left=RELIEVED, why="7 bytes")
    call.call.listen()
    with pytest.raises(call.Ended, match=str(RELIEVED)):
        call.call.judge()
    assert reasons == ["7 bytes"] and call.released == ["lease"]
    assert json.loads(call.store.values["host/0"])["left"] == RELIEVED


@pytest.mark.parametrize("status", [0, STOPPED])
def test_a_host_that_has_ended_in_order_is_not_missed(call, status):
    say(call.store, 1, left=status)
    for _ in range(20):
        call.call.listen()
        call.call.judge()


def test_a_process_that_hangs_ends_with_the_stacks_of_its_threads():
    code = (
        "import time; from scaling.train.process import Watchdog\n"
        "def collective(): time.sleep(60)\n"
        "dog = Watchdog(0.8)\nfor _ in range(4): time.sleep(0.4); dog.reset()\n"
        "print('went on', flush=True); collective()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.returncode == HUNG and done.stdout.startswith("went on\nnothing was done for 1 s")
    assert "in collective" in done.stderr


def test_a_watchdog_that_has_ended_ends_nothing():
    code = "import time; from scaling.train.process import Watchdog\n"
    code += "dog = Watchdog(.1); dog.end(); time.sleep(.5)"
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 0
