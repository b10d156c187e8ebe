"""What `scaling clean` may remove, and what it never touches. That a study goes on afterwards is shown by
tests/train/test_clean.py and tests/study/test_miniature.py."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from scaling.errors import UserError
from scaling.files import write_json
from scaling.store.folder import ResultsFolder
from scaling.store.lease import acquire
from scaling.sweep import clean as module
from scaling.sweep.clean import KINDS, clean, survey
from scaling.sweep.guard import Presence
from tests.cli.call import call
from tests.store.test_records import RECORD
from tests.sweep.plans import make_plan

Tree = dict[str, bytes]
PLAN = make_plan([(8, 50), (8, 100), (16, 50)])
SHORT, LONG, WIDE = PLAN["runs"]
OLD = make_plan([(24, 50), (32, 50)])["runs"]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("SCALING_CACHE", str(folder))
    return folder


@pytest.fixture
def results(tmp_path: Path) -> ResultsFolder:
    """Width 8: two runs done, finals kept; 16: half-done; 24 (done) and 32 are of an earlier plan."""
    folder = ResultsFolder(tmp_path)
    write_json(folder.plan, PLAN)
    for run in (SHORT, LONG, WIDE, *OLD):
        write_json(folder.run_dir(run["run_id"]) / "run.json", run["run"])
        (folder.run_dir(run["run_id"]) / "metrics.jsonl").write_text("{}\n")
        write_json(folder.job_dir(run["job_id"]) / "job.json", job_json(run))
        for name in ("trunk.jsonl", "log.txt", ".progress.json.0.tmp"):
            (folder.job_dir(run["job_id"]) / name).write_text("something")
        checkpoint(folder, run, "trunk", 40)
        checkpoint(folder, run, run["run_id"], 45)
    for run in (SHORT, LONG, OLD[0]):
        record(folder, run)
        checkpoint(folder, run, run["run_id"], run["run"]["steps"])
    checkpoint(folder, WIDE, OLD[1]["run_id"], 45)  # of an earlier plan, in a job of this one
    (folder.job_dir(LONG["job_id"]) / "checkpoints" / "trunk" / ".41.ab.tmp" / "state").mkdir(parents=True)
    for name in ("forecasts/a.json", "fits/chinchilla.json", "runs.csv", "jobs/notes/checkpoints/trunk/1/x"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return folder


def job_json(run: dict) -> dict:
    asked = {name: run[name] for name in ("run_id", "label", "run")} | {"flops_spent": 1}
    execution = {"checkpoint_seconds": 1.0, "keep_final": False, "lease_seconds": 9.0, "threads": 1}
    about = {"schema": 1, "study": "tiny", "job_id": run["job_id"], "branch_steps": [1]}
    return about | {"data": PLAN["data"], "runs": [asked], "execution": execution}


def record(folder: ResultsFolder, run: dict) -> None:
    result = RECORD["result"] | {"steps": run["run"]["steps"]}
    document = RECORD | {"run_id": run["run_id"], "result": result}
    write_json(folder.run_dir(run["run_id"]) / "record.json", document)


def checkpoint(folder: ResultsFolder, run: dict, line: str, step: int) -> None:
    place = folder.job_dir(run["job_id"]) / "checkpoints" / line / str(step)
    place.mkdir(parents=True, exist_ok=True)
    (place / "state").write_text("x" * 1000)


def tree(folder: Path) -> Tree:
    """All files but leases."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "lease")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def place(run: dict, line: str, step: int) -> str:
    return f"jobs/{run['job_id']}/checkpoints/{line}/{step}/state"


def gone(before: Tree, after: Tree) -> set[str]:
    assert after.items() <= before.items(), "nothing is written or changed"
    return before.keys() - after.keys()


NEEDLESS = {
    place(LONG, "trunk", 40),
    place(OLD[0], "trunk", 40),
    *(place(run, run["run_id"], 45) for run in (SHORT, LONG, OLD[0])),
    *(f"jobs/{run['job_id']}/.progress.json.0.tmp" for run in (LONG, WIDE, *OLD)),
}
IF_ASKED = {
    *(place(run, run["run_id"], run["run"]["steps"]) for run in (SHORT, LONG, OLD[0])),
    *(place(OLD[1], line, step) for line, step in (("trunk", 40), (OLD[1]["run_id"], 45))),
    place(WIDE, OLD[1]["run_id"], 45),
    *(f"jobs/{run['job_id']}/log.txt" for run in (LONG, OLD[0])),
}


def test_what_nothing_needs_is_removed_and_nothing_else(results: ResultsFolder) -> None:
    before = tree(results.path)
    assert before.keys() > NEEDLESS | IF_ASKED
    cleaned = clean(results)
    after = tree(results.path)
    assert gone(before, after) == NEEDLESS
    assert cleaned.bytes == sum(len(before[name]) for name in NEEDLESS) and not cleaned.busy
    assert not list(results.path.glob("jobs/*/checkpoints/*/.*.tmp"))
    assert clean(results).bytes == 0


def test_all_leaves_records_curves_and_what_is_unfinished(results: ResultsFolder) -> None:
    before = tree(results.path)
    clean(results, everything=True)
    after = tree(results.path)
    assert gone(before, after) == NEEDLESS | IF_ASKED
    assert place(WIDE, "trunk", 40) in after and place(WIDE, WIDE["run_id"], 45) in after


@pytest.mark.parametrize("everything", [False, True])
def test_a_job_whose_lease_is_held_is_not_touched(results: ResultsFolder, everything: bool) -> None:
    folder, before = results.job_dir(LONG["job_id"]), tree(results.path)
    lease = acquire(folder)
    cleaned = clean(results, everything)
    assert cleaned.busy == (LONG["job_id"],)
    lease.check()
    removed = gone(before, tree(results.path))
    assert removed and not [name for name in removed if name.startswith(f"jobs/{LONG['job_id']}/")]
    lease.release()
    assert clean(results, everything).busy == ()
    assert not (folder / "checkpoints" / "trunk").exists()
    acquire(folder)  # given back


def test_what_became_unfinished_before_the_lease_was_taken_stays(
    results: ResultsFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def acquire_late(folder: Path):
        if folder.name == LONG["job_id"]:
            (results.run_dir(LONG["run_id"]) / "record.json").unlink()
        return acquire(folder)

    monkeypatch.setattr(module, "acquire", acquire_late)
    clean(results)
    assert (results.job_dir(LONG["job_id"]) / "checkpoints" / "trunk" / "40").exists()


def test_a_damaged_record_is_none(results: ResultsFolder) -> None:
    (results.run_dir(SHORT["run_id"]) / "record.json").write_text("{")
    clean(results, everything=True)
    kept = tree(results.path)
    assert {place(LONG, "trunk", 40), place(SHORT, SHORT["run_id"], 45)} < kept.keys()


def test_a_job_of_an_earlier_plan_that_does_not_say_its_runs_is_not_finished(results: ResultsFolder) -> None:
    (results.job_dir(OLD[0]["job_id"]) / "job.json").write_text("{")
    assert place(OLD[0], "trunk", 40) not in gone(tree(results.path), tree_after(results))


def tree_after(results: ResultsFolder) -> Tree:
    clean(results)
    return tree(results.path)


def test_all_waits_for_drivers_and_a_plain_clean_does_not(results: ResultsFolder) -> None:
    presence = Presence(results)
    with pytest.raises(UserError, match="a driver is running"):
        clean(results, everything=True)
    assert clean(results).bytes > 0
    presence.end()
    assert clean(results, everything=True).bytes > 0


def test_compiled_programs_go_when_they_are_old_and_nothing_else_of_the_cache(
    results: ResultsFolder, cache: Path
) -> None:
    for name in ("xla/old", "xla/read", "xla/new", "data/store"):
        (cache / name).parent.mkdir(exist_ok=True)
        (cache / name).write_text("program")
    long_ago = time.time() - 31 * 86_400
    for name in ("xla/old", "data/store"):
        os.utime(cache / name, (long_ago, long_ago))
    os.utime(cache / "xla/read", (time.time(), long_ago))
    sizes = {item.kind: item.bytes for item in survey(results)}
    assert (sizes["programs"], sizes["cache"]) == (7, 21)
    clean(results)
    assert set(tree(cache)) == {"xla/read", "xla/new", "data/store"}


def test_the_sizes_of_all_kinds_are_that_of_the_folder(results: ResultsFolder, cache: Path) -> None:
    items = survey(results)
    assert {item.kind for item in items} == KINDS.keys() - {"programs"}
    assert sum(item.bytes for item in items) == sum(map(len, tree(results.path).values()))


def test_the_command_asks_before_it_removes(results: ResultsFolder, tmp_path: Path) -> None:
    before = tree(results.path)
    done = call("clean", results.path)
    assert done.returncode == 0 and f"next: scaling clean {results.path} --yes" in done.stdout
    assert "unfinished jobs (2)" in done.stdout and tree(results.path) == before
    plain = json.loads(call("clean", results.path, "--json").stdout)
    assert plain["removed"] is None and plain["kinds"]["final"] == {
        "what": KINDS["final"].what, "number": 3, "bytes": 3000, "goes": False,
    }  # fmt: skip
    done = call("clean", results.path, "--yes")
    assert "removed 5." in done.stdout and gone(before, tree(results.path)) == NEEDLESS
    assert "nothing to remove" in call("clean", results.path, "--yes").stdout
    lease = acquire(results.job_dir(LONG["job_id"]))
    done = call("clean", results.path, "--all", "--yes")
    assert f"another process holds their lease: {LONG['job_id']}" in done.stderr
    lease.release()
    done = call("clean", tmp_path / "none")
    assert done.returncode == 2 and "holds no study" in done.stderr
