"""Faults: damaged files, lost leases, full disks; and evaluating again what was kept."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from scaling.corpora.evaluation import Evaluation
from scaling.data.index import adds_to, index_of
from scaling.data.store import open_windows
from scaling.errors import UserError
from scaling.plan.expand import plan_data
from scaling.run import run_id, trunk_id
from scaling.store import metrics as curves
from scaling.store.failure import BUSY, LOST, STOPPED, Failure, kind_of
from scaling.store.folder import is_recorded
from scaling.store.lease import LeaseWatch, LostLease, acquire
from scaling.store.metrics import CurveLog, Vanished
from scaling.store.records import RunMerge
from scaling.train.averages import Averages, Carried
from scaling.train.checkpoint import Checkpoints
from scaling.train.evaluate import make_evaluator
from scaling.train.orders import Order
from scaling.train.reevaluate import reevaluate
from scaling.train.serve import Worker
from scaling.train.work import load_data
from tests.data.made_up import shipped_index
from tests.train.jobs import (
    SIZES,
    curve,
    evaluator_of,
    finish,
    members_of,
    results_of,
    start,
    steps_of,
    train,
    write_job,
)


def damage(folder, line, how):
    """Spoil the newest checkpoint of a line in one way; returns its step."""
    step = max(int(path.name) for path in (folder / "checkpoints" / line).iterdir())
    place = folder / "checkpoints" / line / str(step)
    largest = max((p for p in place.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    match how:
        case "truncated":
            largest.write_bytes(largest.read_bytes()[:-7])
        case "flipped":
            content = bytearray(largest.read_bytes())
            content[len(content) // 2] ^= 1
            largest.write_bytes(content)
        case "half-written":
            (place / "manifest.json").unlink()
        case "empty":
            shutil.rmtree(place)
            place.mkdir()
    return step


DAMAGES = ["truncated", "flipped", "half-written", "empty"]


@pytest.mark.parametrize(
    "how", [*DAMAGES[:2], *(pytest.param(d, marks=pytest.mark.slow) for d in DAMAGES[2:])]
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    undisturbed, runs, index, program, tmp_path, capsys, how
):
    job = train(tmp_path, runs[2:], index, program, stop_after=6, checkpoint_seconds=0.0)
    step = damage(job.folder, "trunk", how)
    before = min(int(path.name) for path in (job.folder / "checkpoints" / "trunk").iterdir())
    again = train(tmp_path, runs[2:], index, program)
    said = capsys.readouterr().out
    assert f"checkpoint trunk/{step} passed over" in said and before < step
    assert again.resumed == 1 and again.steps_done == runs[2].steps
    assert results_of(tmp_path, runs[2:]) == {run_id(runs[2]): results_of(undisturbed, runs)[run_id(runs[2])]}
    assert steps_of(tmp_path, runs[2]) == steps_of(undisturbed, runs[2])[-len(steps_of(tmp_path, runs[2])) :]


def test_a_run_that_goes_on_elsewhere_says_what_began_it(runs, index, program, tmp_path):
    job = train(tmp_path, runs[2:], index, program, stop_after=6, checkpoint_seconds=0.0)
    for path in job.folder.glob("checkpoints/trunk/*/manifest.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"devices": ["TPU v5", "cpu"]}))
    train(tmp_path, runs[2:], index, program)
    record = json.loads((tmp_path / "runs" / run_id(runs[2]) / "record.json").read_text())
    assert record["execution"]["earlier_devices"] == ["TPU v5"] and record["execution"]["resumed"] == 1


def test_without_a_whole_checkpoint_it_starts_again(undisturbed, runs, index, program, tmp_path):
    job = train(tmp_path, runs[2:], index, program, stop_after=6, checkpoint_seconds=0.0)
    for place in (job.folder / "checkpoints" / "trunk").iterdir():
        (place / "manifest.json").unlink()
    again = train(tmp_path, runs[2:], index, program)
    assert again.resumed == 0 and again.steps_done == runs[2].steps
    assert results_of(tmp_path, runs[2:]) == {run_id(runs[2]): results_of(undisturbed, runs)[run_id(runs[2])]}


@pytest.mark.parametrize("damage_at", [0.9, pytest.param(0.4, marks=pytest.mark.slow)])
def test_a_torn_curve_takes_the_checkpoints_after_it_along(
    undisturbed, runs, index, program, tmp_path, damage_at
):
    """No step is missing in the end, though checkpoints lie beyond what is left of the curve."""
    job = train(tmp_path, runs[1:2], index, program, stop_after=13, checkpoint_seconds=0.0)
    log = tmp_path / "runs" / run_id(runs[1]) / "metrics.jsonl"
    for path in (log, job.folder / "trunk.jsonl"):
        content = bytearray(path.read_bytes())
        place = int(damage_at * len(content))
        content[place : place + 40] = bytes(40)
        path.write_bytes(content)
    train(tmp_path, runs[1:2], index, program)
    assert results_of(tmp_path, runs[1:2]) == {
        run_id(runs[1]): results_of(undisturbed, runs)[run_id(runs[1])]
    }
    missing = set(steps_of(undisturbed, runs[1])) ^ set(steps_of(tmp_path, runs[1]))
    assert missing <= {runs[0].branch_step}  # the undisturbed job had another branch there
    assert steps_of(tmp_path, runs[1]) == sorted(set(steps_of(tmp_path, runs[1])))


def test_whose_lease_is_gone_leaves_without_writing(runs, index, program, tmp_path):
    folder = tmp_path / "jobs" / trunk_id(runs[2])
    taken = []

    def take_over(params):
        os.rename(folder / "lease", folder / "lease.1.ab")
        taken.append(acquire(folder))
        return evaluator_of(program, index)(params)

    with pytest.raises(LostLease):
        train(tmp_path, runs[:2], index, program, evaluate=take_over)
    place = tmp_path / "runs" / run_id(runs[0])
    assert taken[0].token == 2 and not list(tmp_path.glob("runs/*/record.json"))
    assert not list(tmp_path.glob("runs/*/error.json"))
    assert not any("eval/loss" in row for row in curve(tmp_path, runs[0])) and place.exists()
    assert not (tmp_path / "runs" / run_id(runs[1])).exists()
    taken[0].check()


def test_a_late_writer_writes_to_a_file_that_nobody_reads(tmp_path):
    """Between its last check and the write a process can be paused: its row must not reach its successor."""
    path = tmp_path / "metrics.jsonl"
    late, successor = CurveLog(path, lambda: None), CurveLog(path, lambda: None)
    late.restart([{"step": 1}])
    successor.restart(late.rows())
    curves._write(late._descriptor, [{"step": 2, "from": "late"}])  # as if the check had just passed
    successor.append({"step": 2})
    assert successor.rows() == [{"step": 1}, {"step": 2}]
    with pytest.raises(Vanished):
        late.append({"step": 3})


def test_a_trunk_trained_again_has_rows_where_done_runs_left_it(runs, index, program, tmp_path):
    first = runs[0].model_copy(update={"steps": runs[0].steps + 3})
    job = train(tmp_path, [first, runs[1]], index, program)
    before = steps_of(tmp_path, runs[1])
    assert first.branch_step in before and first.branch_step % program.blueprint.chunk_steps
    (job.folder / "trunk.jsonl").unlink()
    shutil.rmtree(tmp_path / "runs" / run_id(runs[1]))
    train(tmp_path, [first, runs[1]], index, program)
    assert steps_of(tmp_path, runs[1]) == before


def test_a_second_record_is_never_written(undisturbed, runs, index, program, tmp_path):
    real = evaluator_of(program, index)

    def overtaken(params):
        (tmp_path / "runs" / run_id(runs[0]) / "record.json").write_text("first")
        return real(params)

    with pytest.raises(LostLease, match="was recorded by another process"):
        train(tmp_path, runs[:1], index, program, evaluate=overtaken)
    assert (tmp_path / "runs" / run_id(runs[0]) / "record.json").read_text() == "first"


def test_a_curve_that_is_removed_while_it_is_written_fails_the_run(runs, index, program, tmp_path):
    real = evaluator_of(program, index)

    def remove(params):
        (tmp_path / "runs" / run_id(runs[0]) / "metrics.jsonl").unlink()
        return real(params)

    train(tmp_path, runs[:1], index, program, evaluate=remove)
    error = json.loads((tmp_path / "runs" / run_id(runs[0]) / "error.json").read_text())
    assert error["kind"] == "exception" and "metrics.jsonl was removed" in error["message"]
    train(tmp_path, runs[:1], index, program)
    assert steps_of(tmp_path, runs[0])[-1] == runs[0].steps


def test_room_for_a_checkpoint_is_checked_before(runs, index, program, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 1000))
    job = train(tmp_path, runs, index, program, checkpoint_seconds=0.0)
    error = json.loads((tmp_path / "runs" / run_id(runs[0]) / "error.json").read_text())
    assert job.failed == 1 and error["kind"] == "disk_full" and error["attempt"] == 0
    assert "needs" in error["message"] and "1,000 are free" in error["message"]
    assert not (tmp_path / "runs" / run_id(runs[1])).exists()  # the others would meet the same disk
    assert not list((job.folder / "checkpoints").glob("*/*"))
    monkeypatch.undo()
    assert train(tmp_path, runs[:1], index, program).failed == 0


def test_a_write_that_the_disk_refuses_is_a_full_disk(
    undisturbed, runs, index, program, tmp_path, monkeypatch
):
    """In the middle of a row: the curve is torn there, and mended by the next launch."""
    writes = []

    def refuse(descriptor, data):
        writes.append(data)
        if len(writes) == 20:
            os.write(descriptor, data[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.write(descriptor, data)

    monkeypatch.setattr(curves, "write_bytes", refuse)
    job = train(tmp_path, runs, index, program)
    failed = [json.loads(path.read_text()) for path in tmp_path.glob("runs/*/error.json")]
    assert job.failed == 1 and [error["kind"] for error in failed] == ["disk_full"]
    monkeypatch.undo()
    train(tmp_path, runs, index, program)
    assert results_of(tmp_path, runs) == results_of(undisturbed, runs)
    assert [steps_of(tmp_path, run) for run in runs] == [steps_of(undisturbed, run) for run in runs]


def test_kinds_of_failure():
    full = OSError(errno.ENOSPC, "No space left on device")
    kinds = [
        full,
        ValueError("tensorstore: No space left on device"),
        MemoryError(),
        UserError("x"),
        KeyError(1),
    ]
    assert [kind_of(error) for error in kinds] == [
        *("disk_full", "disk_full", "out_of_memory", "data_error", "exception")
    ]


def test_attempts_count_failures_that_get_no_further(tmp_path):
    def attempt(before, kind, step):
        (tmp_path / "checkpoints" / "trunk" / str(step)).mkdir(parents=True, exist_ok=True)
        previous = before and Failure(kind="killed", message="", attempt=before[0], reached=before[1])
        told = {"run_id": "0" * 12, "message": "", "step": None, "log_tail": []}
        return Failure.after(previous, tmp_path, kind=kind, **told).attempt

    assert attempt((2, 0), "exception", 0) == 3
    assert attempt(None, "exception", 5) == 1
    assert attempt((1, 5), "killed", 5) == 2
    assert attempt((2, 5), "disk_full", 5) == 2  # not the run's own doing
    assert attempt((2, 5), "exception", 6) == 1


def test_a_damaged_record_is_kept_beside(undisturbed, runs, tmp_path):
    whole = (undisturbed / "runs" / run_id(runs[0]) / "record.json").read_text()
    place = tmp_path / run_id(runs[0])
    place.mkdir()
    lease = acquire(tmp_path)
    assert not is_recorded(place, lease)
    for content in (whole[:-20], "[]", whole.replace(place.name, "0" * 12), whole.replace("status", "state")):
        (place / "record.json").write_text(content)
        assert not is_recorded(place, lease)
        assert (place / "record.json.damaged").read_text() == content
    (place / "record.json").write_text(whole)
    assert is_recorded(place, lease)


def test_data_that_are_not_there_are_a_data_error(index, monkeypatch, tmp_path):
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path))
    with pytest.raises(UserError, match=f"no prepared store {index.fingerprint}"):
        load_data(plan_data(index, Evaluation()))


def committed(folder):
    """All files but progress.json, for display only: one that the process was stopped in writing it still
    puts in place."""
    files = (path for path in folder.rglob("*") if path.is_file() and "progress.json" not in path.name)
    return {path: path.read_bytes() for path in files}


@pytest.mark.slow
def test_exit_codes_of_a_held_and_of_a_lost_job(runs, index, tmp_path):
    folder = write_job(tmp_path, runs[2:], index, lease_seconds=1.0)
    held = acquire(folder)
    assert "holds the lease" in finish(folder, code=BUSY) and not (tmp_path / "runs").exists()
    held.release()
    process = start(folder)
    while not (folder / "trunk.jsonl").exists():
        time.sleep(0.005)
    process.send_signal(signal.SIGSTOP)
    watch = LeaseWatch()
    while watch.held(folder, 1.0):
        time.sleep(0.05)
    taker = acquire(folder, watch.mark)
    before = committed(tmp_path)
    process.send_signal(signal.SIGCONT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == LOST and "left without writing" in out
    assert committed(tmp_path) == before
    taker.check()


def test_evaluated_again_a_run_has_the_result_of_one_trained_with_that_evaluation(
    runs, index, program, tmp_path
):
    other = shipped_index(**(SIZES | {"tokens": 8192}))
    job = train(tmp_path / "a", runs[:2], index, program, keep_final=True)
    before = results_of(tmp_path / "a", runs[:2])
    train(tmp_path / "b", runs[:2], other, program)
    wanted = results_of(tmp_path / "b", runs[:2])
    assert wanted != before
    members, lease = members_of(runs[:2]), acquire(job.folder)
    bench = replace(
        job.bench,
        lease=lease,
        windows=open_windows(other),
        evaluate=make_evaluator(program, open_windows(other)),
        stop_asked=lambda: False,
    )
    (tmp_path / "a" / "runs" / run_id(runs[0]) / "error.json").write_text("{}")
    assert reevaluate(replace(bench, stop_asked=lambda: True), members) == STOPPED
    assert results_of(tmp_path / "a", runs[:2]) == before
    resets: list[None] = []
    dog = SimpleNamespace(reset=lambda: resets.append(None))
    assert reevaluate(replace(bench, watchdog=dog), members) == 0
    assert len(resets) == 2, "a long list of runs is not taken for a process that hangs"
    assert not list(tmp_path.glob("a/runs/*/error.json"))
    assert results_of(tmp_path / "a", runs[:2]) == wanted
    for run in runs[:2]:
        place = tmp_path / "a" / "runs" / run_id(run)
        kept = json.loads((place / f"record.{index.eval_id}.json").read_text())
        assert kept["result"] == before[run_id(run)]
        rows = [row["eval/loss"] for row in curve(tmp_path / "a", run) if "eval/loss" in row]
        assert rows == [wanted[run_id(run)]["loss"]]
    shutil.rmtree(job.folder / "checkpoints")
    assert reevaluate(replace(bench, windows=open_windows(index)), members) == 1
    assert results_of(tmp_path / "a", runs[:2]) == wanted  # nothing to evaluate: the record stays
    record = tmp_path / "a" / "runs" / run_id(runs[0]) / "record.json"
    record.write_text(record.read_text().replace(other.eval_id, "/../../../out"))
    with pytest.raises(UserError, match="eval_id"):
        reevaluate(replace(bench, windows=open_windows(index)), members)


def test_saves_after_damage_are_kept_though_later_ones_lie_there(runs, index, program, tmp_path):
    """A trunk that starts anew below checkpoints that are no good, or no use."""
    state = Carried(program.start(0), {})
    checkpoints = Checkpoints(tmp_path, lambda: None, lambda text: None)
    for step in (800, 900):
        checkpoints.save("trunk", step, state, Averages())
        checkpoints.settle()
    (tmp_path / "trunk" / "900" / "manifest.json").unlink()
    checkpoints.save("trunk", 100, state, Averages())
    checkpoints.settle()
    assert checkpoints.steps("trunk") == [100, 800]  # the damaged one is gone, the whole one may serve yet
    for step in (200, 300):
        checkpoints.save("trunk", step, state, Averages())
        checkpoints.settle()
    assert checkpoints.steps("trunk") == [200, 300, 800]
    found = checkpoints.restore("trunk", program.abstract, {100, 200, 300}, Averages())
    assert found is not None and found[0] == 300


@pytest.mark.slow
def test_a_program_that_does_not_fit_is_out_of_memory(runs, index, tmp_path, monkeypatch):
    def refuse(*_):
        raise RuntimeError("RESOURCE_EXHAUSTED: out of memory while compiling")

    monkeypatch.setattr("scaling.train.work.make_program", refuse)
    folder = write_job(tmp_path, runs[:1], index)
    statuses = []
    stop = SimpleNamespace(asked=False)
    Worker(stop, lambda order, status: statuses.append(status), logs=False).finish(Order(folder))
    assert statuses == [1]
    error = json.loads((tmp_path / "runs" / run_id(runs[0]) / "error.json").read_text())
    assert error["kind"] == "out_of_memory" and error["attempt"] == 1


def test_a_set_added_to_finished_runs_leaves_what_was_there(runs, index, program, tmp_path):
    asked = {"evaluate_at": (16, 32), "averages": (RunMerge(name="merge20x2", steps=(48, 60)),)}
    job = train(tmp_path, runs[:1], index, program, keep_final=True, asked=lambda run: asked)
    before, rows = results_of(tmp_path, runs[:1])[run_id(runs[0])], curve(tmp_path, runs[0])
    (first,) = index.content.sets
    added = first.model_copy(update={"name": "few", "documents": 3, "tokens": 1024, "target": False})
    wider = index_of(index.content.model_copy(update={"sets": (first, added)}), index.context)
    assert adds_to(wider, index.eval_id, ()) and not adds_to(index, wider.eval_id, ("held-out", "few"))
    bench = replace(
        job.bench,
        lease=acquire(job.folder),
        windows=open_windows(wider),
        evaluate=make_evaluator(program, open_windows(wider)),
        stop_asked=lambda: False,
    )
    assert reevaluate(bench, members_of(runs[:1], lambda run: asked)) == 0
    after = results_of(tmp_path, runs[:1])[run_id(runs[0])]
    new = {
        "eval_id": wider.eval_id,
        "set_losses": after["set_losses"],
        "document_losses": after["document_losses"],
    }
    assert after == before | new and before["average_losses"]
    assert [*after["set_losses"]] == ["held-out", "few"] and len(after["document_losses"]) == 27
    assert after["set_losses"]["held-out"] == pytest.approx(before["loss"], rel=1e-6)
    now = curve(tmp_path, runs[0])
    assert now[:-1] == rows[:-1] and now[-1] == rows[-1] | {
        f"eval/loss/{name}": loss for name, loss in after["set_losses"].items()
    }
