"""A command of a user's under its supervisor: results, bad contracts, stops, kills, and who may write."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from scaling.store.documents import read
from scaling.store.failure import BUSY, LOST, STOPPED, Failure
from scaling.store.lease import acquire, look
from scaling.store.metrics import read_metrics
from scaling.store.records import Record
from scaling.supervisor.supervise import supervise
from scaling.train.orders import Order
from tests.supervisor.jobs import (
    alive,
    kill,
    read_json,
    run_dir,
    start,
    wait_for,
    write_job,
)


def do(job_dir: Path, stop=None) -> int:
    """Do a job in this process."""
    return supervise(Order(job_dir), stop or SimpleNamespace(asked=False))


def error_of(job_dir: Path) -> Failure:
    error = read(Failure, run_dir(job_dir) / "error.json")
    assert error
    return error


def result_of(job_dir: Path):
    record = read(Record, run_dir(job_dir) / "record.json")
    assert record
    return record.result


def test_a_result_becomes_a_record_and_its_lines_a_curve(tmp_path):
    job_dir = write_job(
        tmp_path,
        """
        assert asked["steps"] == 40 and asked["tokens"] == 640 and asked["learning_rate"] == 0.01
        assert asked["size"]["config"] == {"width": 4} and asked["recipe"]["anything"] == "else"
        assert not asked["resumed"] and sys.argv[2] == "--out=" + paths["out"]
        row(step=20, tokens=320, **{"train/loss": 3.0, "my/number": 1})
        row(step=40, **{"train/loss": 2.5, "eval/loss": 2.25, "eval/accuracy": 0.5})
        result(loss=2.25, steps=40, loss_se=0.01, accuracy=0.5, note="hi")
        print("hello")
        """,
    )
    assert do(job_dir) == 0
    result = result_of(job_dir)
    assert (result.loss, result.loss_se_eval, result.steps, result.tokens) == (2.25, 0.01, 40, 640)
    assert result.columns == {"accuracy": 0.5, "note": "hi"}
    assert result.params.total == 1000 and result.eval_id == "0123456789ab" and result.flags == ()
    first, trained, evaluated = read_metrics(run_dir(job_dir) / "metrics.jsonl").rows
    assert first | {"wall_time": 0} == {
        **{"step": 20, "tokens": 320, "flops": 320 * 6000, "wall_time": 0},
        **{"train/loss": 3.0, "my/number": 1},
    }
    assert trained["train/loss"] == 2.5 and "eval/loss" not in trained
    assert evaluated["eval/loss"] == 2.25 and evaluated["eval/accuracy"] == 0.5
    assert read_json(job_dir / "progress.json")["step"] >= 20
    assert "hello" in (job_dir / "log.txt").read_text()
    assert do(job_dir) == 0 and (job_dir / "log.txt").read_text().strip() == "hello"  # done is done


BAD = {
    "no result": ("row(step=40)", "contract", "result.json: the command exited with status 0 and without"),
    "a loss that is no number": ("result(loss='2.5')", "contract", 'loss = "2.5": must be a number'),
    "more steps": (
        "row(step=41); time.sleep(60)",
        "contract",
        "metrics.jsonl:1: step = 41, but run.json asks for 40 steps; stop at `steps`",
    ),
    "stops itself": (
        "sys.exit(130)",
        "killed",
        "status 130, stopped, and nobody had asked it to; see its log",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_contract_is_one_clear_line(name, tmp_path):
    script, kind, line = BAD[name]
    job_dir = write_job(tmp_path, script)
    assert do(job_dir) == 1
    error = error_of(job_dir)
    assert error.kind == kind and line in error.message and "\n" not in error.message
    assert not (run_dir(job_dir) / "record.json").exists()


@pytest.mark.parametrize("argv", [["no-such-trainer", "{run}"], ["./train.py", "{run}"]])
def test_a_command_that_cannot_be_started_says_so(argv, tmp_path):
    job_dir = write_job(tmp_path, "", argv=argv)
    assert do(job_dir) == 1
    error = error_of(job_dir)
    assert error.kind == "not_started"
    assert f"trainer.argv[0] = {argv[0]!r} cannot be started in {str(tmp_path)!r}: " in error.message


@pytest.mark.slow
def test_exit_statuses_and_signals_are_handed_on(tmp_path):
    for script, status in [("sys.exit(3)", 3), ("os.kill(os.getpid(), 9)", -9), ("sys.exit(75)", 1)]:
        job_dir = write_job(tmp_path, script)
        assert do(job_dir) == status, script
    job_dir = write_job(tmp_path, "result(); sys.exit(3)")  # some libraries fail as they are torn down
    assert do(job_dir) == 0 and result_of(job_dir).flags == ("exit_3",)


@pytest.mark.parametrize("how", ["result(loss=float('nan'))", "result(loss=None, status='diverged')"])
def test_divergence_is_a_result(how, tmp_path):
    job_dir = write_job(tmp_path, "row(step=9, **{'train/loss': float('inf')}); " + how)
    assert do(job_dir) == 0
    result = result_of(job_dir)
    assert result.status == "diverged" and result.loss is None and result.status_reason
    [row] = read_metrics(run_dir(job_dir) / "metrics.jsonl").rows
    assert row["train/loss"] is None


RESUMING = """
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
at = os.path.join(paths["checkpoints"], "step")
step = int(open(at).read()) if asked["resumed"] else 0
while step < 40:
    step += 10
    if step != 10 or asked["start"] == 1:
        row(step=step, **{"train/loss": 1.0 * asked["start"]})
    if step == 20:
        open(at, "w").write("20")
    if step == 30 and asked["start"] == 1:
        open(os.path.join(paths["out"], "ready"), "w").close()
        while not stopped:
            time.sleep(0.01)
        sys.exit(130)
result(resumed=asked["resumed"])
"""


def train_losses(job_dir: Path):
    found = read_metrics(run_dir(job_dir) / "metrics.jsonl").rows
    return {row["step"]: row["train/loss"] for row in found if "train/loss" in row}


@pytest.mark.parametrize("resume", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_asked_to_stop_it_saves_and_a_relaunch_goes_on_or_starts_anew(resume, tmp_path):
    job_dir = write_job(tmp_path, RESUMING, resume=resume)
    process = start(job_dir)
    wait_for((job_dir / "external" / "ready").exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == STOPPED
    assert not (run_dir(job_dir) / "error.json").exists()
    assert train_losses(job_dir) == {10: 1.0, 20: 1.0, 30: 1.0}
    assert do(job_dir) == 0
    assert result_of(job_dir).columns == {"resumed": resume}
    assert read_json(job_dir / "external" / "run.json")["resumed"] is resume
    kept = {10: 1.0, 20: 1.0} if resume else {20: 2.0}
    assert train_losses(job_dir) == kept | {30: 2.0, 40: 2.0}
    assert (job_dir / "external" / "ready").exists() is resume  # anew: in an empty folder
    assert not (job_dir / "external" / "checkpoints").exists()  # it is done
    assert read_json(job_dir / "command.json")["resumed_from"] == (29 if resume else 0)


def test_lines_that_nobody_lived_to_read_are_taken_by_the_next_start(tmp_path):
    job_dir = write_job(tmp_path, "row(step=30, **{'train/loss': 3.0}); result()", resume=True)
    own, curve = job_dir / "external", run_dir(job_dir) / "metrics.jsonl"
    (own / "checkpoints" / "20").mkdir(parents=True)
    before = [{"step": step, "train/loss": 1.0} for step in (5, 10, 20, 30, 40)]
    (own / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in before) + '{"step": 4')
    curve.parent.mkdir(parents=True)
    of_ours = {"tokens": 80, "flops": 80 * 6000, "wall_time": 7.0}
    curve.write_text(json.dumps({**before[0], **of_ours}) + "\n")
    assert do(job_dir) == 0
    assert train_losses(job_dir) == {5: 1.0, 10: 1.0, 20: 1.0, 30: 3.0}
    walls = [row["wall_time"] for row in read_metrics(curve).rows if "wall_time" in row]
    assert walls[:3] == [7.0, 7.0, 7.0] and walls[3] > 7.0


def test_a_command_that_ignores_sigterm_is_killed_after_its_grace(tmp_path):
    script = "signal.signal(signal.SIGTERM, signal.SIG_IGN); row(step=1, **{'train/loss': 1}); time.sleep(60)"
    job_dir = write_job(tmp_path, script, grace=0.3)
    metrics = run_dir(job_dir) / "metrics.jsonl"

    class Stop:
        @property
        def asked(self):
            return metrics.exists() and bool(metrics.read_text())

    assert do(job_dir, Stop()) == STOPPED
    error = error_of(job_dir)
    assert error.kind == "ignored_stop" and error.attempt == 0
    assert error.message.startswith("the command ran on for 0.3 s after SIGTERM and was killed; let it save")


def test_a_result_counts_although_its_command_does_not_end(tmp_path):
    job_dir = write_job(
        tmp_path, "signal.signal(signal.SIGTERM, signal.SIG_IGN); result(); time.sleep(60)", grace=0.3
    )
    written = job_dir / "external" / "result.json"

    class Stop:
        @property
        def asked(self):
            return written.exists() and bool(written.read_text())

    assert do(job_dir, Stop()) == 0
    assert result_of(job_dir).loss == 2.5 and result_of(job_dir).flags == ("exit_-9",)


DAEMON = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        open(os.path.join(paths["out"], "pid"), "w").write(str(os.getpid()))
        time.sleep(60)
    os._exit(0)
while not os.path.exists(os.path.join(paths["out"], "pid")):
    time.sleep(0.01)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives orphans to a chosen process")
def test_a_command_that_daemonises_is_found_and_killed(tmp_path):
    job_dir = write_job(tmp_path, DAEMON)
    assert do(job_dir) == 1
    error = error_of(job_dir)
    pid = int((job_dir / "external" / "pid").read_text())
    assert error.kind == "contract" and f"(process {pid}) behind, which was killed" in error.message
    assert "stay in the foreground" in error.message
    assert not alive(pid)


CHILDREN = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
if child == 0:
    time.sleep(60)
at = os.path.join(paths["checkpoints"], "step")
if asked["resumed"]:
    os.kill(child, 9)
    row(step=40)
    result(start=asked["start"])
    sys.exit()
open(at, "w").close()
row(step=10)
open(os.path.join(paths["out"], "pids"), "w").write(f"{os.getpid()} {child}")
for step in range(11, 40):
    time.sleep(0.05)
    row(step=step)
time.sleep(60)
"""


SILENT = CHILDREN.replace("range(11, 40)", "()")


def pids_of(job_dir: Path) -> list[int]:
    path = job_dir / "external" / "pids"
    return [int(word) for word in wait_for(lambda: path.exists() and path.read_text()).split()]


@pytest.mark.slow
@pytest.mark.parametrize("how", ["supervisor killed", "driver gone"])
def test_a_command_ends_with_its_supervisor_and_that_with_its_driver(how, tmp_path):
    job_dir = write_job(tmp_path, CHILDREN, resume=True)
    process = start(job_dir)
    pids = pids_of(job_dir)
    if how == "supervisor killed":
        process.kill()
    else:
        process.stdin.close()  # which only the driver holds open
    process.wait(10)
    wait_for(lambda: not any(map(alive, pids)))
    assert do(job_dir) == 0  # the lease of a process that is gone is free
    assert read_json(job_dir / "external" / "run.json")["start"] == 2


@pytest.mark.slow
def test_kill_of_the_command_is_its_status(tmp_path):
    job_dir = write_job(tmp_path, CHILDREN)
    process = start(job_dir)
    command, child = pids_of(job_dir)
    kill(command)
    assert process.wait(20) == 128 + signal.SIGKILL
    assert not alive(child)
    assert look(job_dir).free


@pytest.mark.parametrize("script", [SILENT, pytest.param(CHILDREN, marks=pytest.mark.slow)])
def test_a_command_whose_lease_was_lost_is_killed_and_writes_nothing(script, tmp_path):
    job_dir = write_job(tmp_path, script)
    process = start(job_dir)
    pids = pids_of(job_dir)
    wait_for((job_dir / "progress.json").exists)
    taken = acquire(job_dir, look(job_dir).mark)
    before = (run_dir(job_dir) / "metrics.jsonl").read_bytes()
    assert process.wait(20) == LOST
    assert not any(map(alive, pids))
    after = (run_dir(job_dir) / "metrics.jsonl").read_bytes()
    assert len(after.splitlines()) <= len(before.splitlines()) + 1  # what was being written then
    assert not (run_dir(job_dir) / "record.json").exists() and not (run_dir(job_dir) / "error.json").exists()
    taken.release()


@pytest.mark.slow
def test_the_command_of_a_stalled_supervisor_is_killed_by_its_successor(tmp_path):
    job_dir = write_job(tmp_path, CHILDREN, resume=True)
    stalled = start(job_dir)
    pids = pids_of(job_dir)
    os.kill(stalled.pid, signal.SIGSTOP)
    try:
        assert do(job_dir) == BUSY
        assert supervise(Order(job_dir, look(job_dir).mark), SimpleNamespace(asked=False)) == 0
        assert not any(map(alive, pids))
        record = (run_dir(job_dir) / "record.json").read_bytes()
    finally:
        os.kill(stalled.pid, signal.SIGCONT)
    assert stalled.wait(20) == LOST
    assert (run_dir(job_dir) / "record.json").read_bytes() == record
    assert result_of(job_dir).steps == 40


@pytest.mark.slow
def test_failures_in_a_row_count_from_the_last_checkpoint(tmp_path):
    script = """
    at = os.path.join(paths["checkpoints"], "step")
    step = int(open(at).read()) if asked["resumed"] else 0
    row(step=step + 1)
    if asked["start"] <= 2:
        open(at, "w").write(str(step + 10))
    """
    job_dir = write_job(tmp_path, script, resume=True)
    attempts = []
    for _ in range(5):
        assert do(job_dir) == 1
        attempts.append(error_of(job_dir).attempt)
    assert attempts == [1, 1, 1, 2, 3]


def test_serve_does_one_job_after_the_other(tmp_path):
    good = write_job(tmp_path / "a", "result()")
    bad = write_job(tmp_path / "b", "print('to its own log'); sys.exit(4)")
    orders = "".join(json.dumps({"folder": str(one), "mark": ""}) + "\n" for one in (bad, good))
    process = subprocess.Popen(
        [sys.executable, "-m", "scaling.supervisor", "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    process.stdin.write(orders)
    process.stdin.flush()
    answers = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == STOPPED
    assert answers == [{"folder": str(bad), "status": 4}, {"folder": str(good), "status": 0}]
    assert "to its own log" in (bad / "log.txt").read_text()


def test_the_supervisor_imports_no_jax():
    code = "import scaling.supervisor.__main__, sys; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_run_may_have_no_lines(tmp_path):
    job_dir = write_job(tmp_path, "result()")
    assert do(job_dir) == 0
    [row] = read_metrics(run_dir(job_dir) / "metrics.jsonl").rows
    assert row["eval/loss"] == 2.5 and row["step"] == 40


SAVING = """
stopped = []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
row(step=10)
open(os.path.join(paths["out"], "ready"), "w").close()
while not stopped:
    time.sleep(0.01)
time.sleep(0.5)
open(os.path.join(paths["checkpoints"], "saved"), "w").close()
sys.exit(130)
"""


def test_a_signal_to_all_processes_lets_the_command_save(tmp_path):
    """As Slurm sends it to a job that it preempts."""
    job_dir = write_job(tmp_path, SAVING, resume=True)
    process = start(job_dir)
    wait_for((job_dir / "external" / "ready").exists)
    keeper = read_json(job_dir / "command.json")["keeper"]["pid"]
    for pid in (keeper, process.pid):
        os.kill(pid, signal.SIGTERM)
    assert process.wait(20) == STOPPED
    assert (job_dir / "external" / "checkpoints" / "saved").exists()
