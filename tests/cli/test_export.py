"""``scaling export``: the final weights of a run, or why there are none."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from scaling.files import write_json
from scaling.model.roles import init_params
from scaling.plan.cadence import averages_of
from scaling.plan.plan import PlannedRun
from scaling.store.folder import ResultsFolder
from scaling.store.records import RunMerge
from scaling.store.weights import identity, identity_of, load
from scaling.train.averages import Averages, Carried
from scaling.train.checkpoint import Checkpoints
from scaling.train.program import Blueprint, abstract_state
from tests.cli.call import call
from tests.plan.studies import plan_of
from tests.store.test_records import RECORD


@pytest.fixture
def results(tmp_path: Path) -> ResultsFolder:
    folder = ResultsFolder(tmp_path / "study")
    write_json(folder.plan, plan_of(family__widths=[16]).to_json())
    return folder


def end(results: ResultsFolder, run: PlannedRun, status: str = "ok") -> None:
    result = RECORD["result"] | {"status": status}
    write_json(results.run_dir(run.run_id) / "record.json", RECORD | {"run_id": run.run_id, "result": result})


def keep(results: ResultsFolder, run: PlannedRun) -> str:
    """Keep a final state, as a job does; returns the identity of its weights."""
    state = jax.tree.map(lambda a: jnp.ones(a.shape, a.dtype), abstract_state(Blueprint.of(run.run, 8)))
    weights = init_params(run.run.shape, 7)
    checkpoints = Checkpoints(results.job_dir(run.job_id) / "checkpoints", lambda: None)
    carried = Carried(state._replace(params=jax.tree.map(jnp.asarray, weights)), {})
    checkpoints.save(run.run_id, run.run.steps, carried, Averages())
    checkpoints.settle()
    return identity(weights)


def test_a_run_is_exported_by_label_id_or_the_start_of_an_id(tmp_path: Path, results: ResultsFolder) -> None:
    run, other = plan_of(family__widths=[16]).runs
    end(results, run)
    kept, file = keep(results, run), tmp_path / "w.safetensors"
    for name in (run.label, run.run_id, run.run_id[:5]):
        done = call("export", results.path, name, "--weights", file)
        assert done.returncode == 0 and run.label in done.stdout and kept[:19] in done.stdout
        assert identity_of(file) == kept
        file.unlink()
    done = json.loads(call("export", results.path, run.label, "--weights", file, "--json").stdout)
    assert done == {"file": str(file), "run_id": run.run_id, "identity": kept}
    for name, problem in (("w17", "'w17' names no run of this study"), ("", "'' names no run")):
        done = call("export", results.path, name, "--weights", file)
        assert done.returncode == 2 and problem in done.stderr
    assert other.run_id[:5] != run.run_id[:5]


def test_an_average_of_the_weights_is_exported_by_its_name(tmp_path: Path) -> None:
    averages = [{"kind": "ema", "decay": 0.9}, {"kind": "merge", "span": "20 %", "snapshots": 2}]
    results, file = ResultsFolder(tmp_path / "study"), tmp_path / "w.safetensors"
    plan = plan_of(family__widths=[16], evaluation={"averages": averages}, execution={"chunk_steps": 10})
    write_json(results.plan, plan.to_json())
    run = plan.runs[0]
    end(results, run)
    ema, merge = averages_of(plan, run.run)
    assert isinstance(merge, RunMerge)
    state = jax.tree.map(lambda a: jnp.ones(a.shape, a.dtype), abstract_state(Blueprint.of(run.run, 8)))
    state = state._replace(emas=(state.params,))
    params = {name: jnp.asarray(array) for name, array in init_params(run.run.shape, 7).items()}
    carried = Carried(state._replace(params=params), {f"{run.run_id}/{merge.name}": double(params)})
    kept = Averages((0.9,), {f"{run.run_id}/{merge.name}": merge.steps})
    checkpoints = Checkpoints(results.job_dir(run.job_id) / "checkpoints", lambda: None)
    checkpoints.save(run.run_id, run.run.steps, carried, kept)
    checkpoints.settle()

    def exported(name: str):
        done = call("export", results.path, run.label, "--weights", file, "--average", name)
        assert done.returncode == 0, done.stderr
        return load(file)

    merged, smooth = exported(merge.name), exported(ema.name)
    for (
        name,
        array,
    ) in params.items():  # two snapshots of equal weights; an average of ones with the last weights
        assert merged[name] == pytest.approx(array)
        assert smooth[name] == pytest.approx(0.9 + 0.1 * array)
    done = call("export", results.path, run.label, "--weights", file, "--average", "merge30")
    assert done.returncode == 2
    assert f"w16-500st-s0 has no average 'merge30'; it has {ema.name}, {merge.name}" in done.stderr


def double(params):
    return jax.tree.map(lambda array: 2 * array, params)


def test_where_there_are_no_final_weights_it_says_why(tmp_path: Path, results: ResultsFolder) -> None:
    run, other = plan_of(family__widths=[16]).runs

    def refused() -> str:
        done = call("export", results.path, run.label, "--weights", tmp_path / "w")
        assert done.returncode == 2 and not (tmp_path / "w").exists()
        return done.stderr

    keep(results, run)
    assert "w16-500st-s0 has no record yet; train it with execution.keep_final: true" in refused()
    end(results, run, "diverged")
    assert "w16-500st-s0 has diverged: it has no final weights" in refused()
    run = other
    end(results, run)
    assert "w16-1000st-s0 kept no final checkpoint" in refused()
