from __future__ import annotations

import json
import shutil
from copy import deepcopy
from pathlib import Path

import pandas
import pytest

from scaling.run import Run
from scaling.store.folder import ResultsFolder
from scaling.sweep.collect import COLUMNS, collect
from tests.sweep.plans import behave, by_label, make_plan, open_tiny

# DESIGN's columns, in its order; the contract with every reader of the table
EXPECTED = (
    "run_id label study role variant status status_reason flags job_id trunk_id eval_id "
    "params params_embedding params_head params_body params_active sparsity tokens unique_tokens epochs "
    "flops flops_full_attention flops_6n_total flops_6n_body flops_spent "
    "depth width heads kv_heads context vocab_size tokenizer optimizer schedule warmup_tokens decay_tokens "
    "batch_tokens steps learning_rate weight_decay precision parametrization seed seed_order "
    "loss loss_se_eval bits_per_byte eval_tokens train_loss "
    "tokens_per_second mfu wall_seconds input_wait_seconds peak_memory_bytes device git_commit budget"
)


@pytest.fixture(scope="module")
def done_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("done_once")
    behave(folder, w16_s50="diverge", w24_s50="crash")
    plan = make_plan([(8, 50), (16, 50), (24, 50)], holdout=[(8, 200)])
    plan["runs"][0]["budget"] = 1e9
    with open_tiny(folder, plan) as sweep:
        sweep.run_jobs({"fit"}, retries=0)
    return folder, plan


@pytest.fixture
def plan(tmp_path: Path, done_once: tuple[Path, dict]) -> dict:
    """The plan; its study is copied to ``tmp_path``."""
    folder, plan = done_once
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return deepcopy(plan)


def test_columns_and_values(tmp_path: Path, plan: dict) -> None:
    done = collect(tmp_path)
    table = pandas.read_csv(done.table)
    assert " ".join(table.columns) == " ".join(COLUMNS) == EXPECTED
    first, second = table.to_dict("records")
    run = Run.model_validate(plan["runs"][0]["run"])
    assert (first["label"], first["study"], first["role"], first["status"]) == ("w8-s50", "tiny", "fit", "ok")
    assert first["flops"] == run.flops().flops == first["flops_spent"]
    assert first["flops_full_attention"] == run.flops().full_attention > first["flops"]
    assert (first["flops_6n_total"], first["flops_6n_body"]) == (
        run.flops().six_n_total,
        run.flops().six_n_body,
    )
    assert (first["params"], first["params_body"], first["budget"]) == (30, 10, 1e9)
    assert (first["steps"], first["batch_tokens"], first["tokens"]) == (50, 32, 1600)
    assert (first["warmup_tokens"], first["decay_tokens"]) == (160, 320)
    assert (first["tokenizer"], first["optimizer"], first["schedule"]) == ("bytes", "adamw", "wsd")
    assert (first["unique_tokens"], first["epochs"], first["eval_id"]) == (1600, 0.5, "e" * 12)
    assert (first["learning_rate"], first["loss"]) == (0.01, 2.5)
    assert (first["seed"], first["seed_order"]) == (0, 0)
    assert second["status"] == "diverged" and second["status_reason"] == "loss not finite at step 7"
    assert pandas.isna(second["loss"]) and pandas.isna(second["budget"]) and pandas.isna(second["mfu"])
    assert done.empty["mfu"] == 2 and done.empty["loss"] == done.empty["budget"] == 1


def test_nothing_is_dropped_without_a_count_and_a_cause(tmp_path: Path, plan: dict) -> None:
    done = collect(tmp_path)
    assert (done.rows, done.diverged, len(done.missing)) == (2, 1, 2)
    failed, waiting = done.missing
    assert failed.label == "w24-s50" and failed.state == "failed" and "on fire" in failed.cause
    assert waiting.role == "holdout" and waiting.state == "pending" and waiting.cause
    gone = plan["runs"][0]["run_id"]
    jobs = [job | {"run_ids": [key for key in job["run_ids"] if key != gone]} for job in plan["jobs"]]
    shrunk = plan | {"runs": plan["runs"][1:], "jobs": jobs}
    ResultsFolder(tmp_path).plan.write_text(json.dumps(shrunk))
    metrics = ResultsFolder(tmp_path).run_dir(plan["runs"][1]["run_id"]) / "metrics.jsonl"
    with open(metrics, "a") as file:
        file.write('{"step": 2, "train/loss": 9.0}\n{"step": 3, "tra')
    done = collect(tmp_path)
    assert done.strays == (gone,)
    assert (done.rows, done.torn_lines, done.repeated_steps) == (1, 1, 1)
    assert done.summary == (
        "1 run (1 diverged), 1 failed, 1 pending, 1 of an earlier plan, left out, "
        "1 torn metrics lines skipped, 1 steps logged twice"
    )


def test_curves(tmp_path: Path, plan: dict) -> None:
    metrics = ResultsFolder(tmp_path).run_dir(plan["runs"][0]["run_id"]) / "metrics.jsonl"
    with open(metrics, "a") as file:
        file.write('{"step": 2, "tokens": 128, "flops": 20, "eval/loss": 2.5}\n')
        file.write('{"step": 5, "tokens": 320, "flops": 5e25, "train/loss": NaN, "run_id": 3}\n')
    curves = pandas.read_parquet(collect(tmp_path).curves)
    assert list(curves.columns) == [
        *("run_id", "step", "tokens", "flops", "wall_time", "train/loss", "train/grad_norm"),
        *("train/learning_rate", "eval/loss"),
    ]
    first = curves[curves.run_id == plan["runs"][0]["run_id"]]
    assert list(first.step) == [1, 2, 5] and list(first["eval/loss"].isna()) == [True, False, True]
    assert first["train/loss"].iloc[1] == 2.8 and pandas.isna(first["train/loss"].iloc[2])
    assert len(curves) == 5


def test_curves_have_a_column_for_each_loss_along_the_way(tmp_path: Path, plan: dict) -> None:
    metrics = ResultsFolder(tmp_path).run_dir(plan["runs"][0]["run_id"]) / "metrics.jsonl"
    with open(metrics, "a") as file:
        file.write('{"step": 1, "eval_id": "eeeeeeeeeeee", "eval/loss": 2.5, "eval/loss/code": 2.25}\n')
    curves = pandas.read_parquet(collect(tmp_path).curves)
    assert list(curves.columns)[-2:] == ["eval/loss", "eval/loss/code"]
    first = curves[curves.run_id == plan["runs"][0]["run_id"]].iloc[0]
    assert (first["step"], first["eval/loss"], first["eval/loss/code"]) == (1, 2.5, 2.25)
    assert first["train/loss"] > 0


def test_two_collects_are_byte_identical(tmp_path: Path, plan: dict) -> None:
    done = collect(tmp_path)
    before = done.table.read_bytes(), done.curves.read_bytes()
    again = collect(tmp_path)
    assert (again.table.read_bytes(), again.curves.read_bytes()) == before
    assert not list(tmp_path.glob(".*"))


def test_losses_of_averages_have_columns(tmp_path: Path, plan: dict) -> None:
    path = ResultsFolder(tmp_path).run_dir(by_label(plan, "w8-s50")["run_id"]) / "record.json"
    record = json.loads(path.read_text())
    record["result"]["average_losses"] = {"ema0.999": 2.25, "merge20": 2.0}
    path.write_text(json.dumps(record))
    table = pandas.read_csv(collect(tmp_path).table)
    assert (table["loss@ema0.999"].iloc[0], table["loss@merge20"].iloc[0]) == (2.25, 2.0)
    assert table["loss@merge20"].isna().sum() == 1


def test_how_a_program_was_lowered_has_columns_where_it_is_not_the_usual_way(
    tmp_path: Path, plan: dict
) -> None:
    path = ResultsFolder(tmp_path).run_dir(by_label(plan, "w8-s50")["run_id"]) / "record.json"
    record = json.loads(path.read_text())
    lowering = {"mesh": {"fsdp": 4}, "micro_batches": 2, "attention": "cudnn", "remat": "none"}
    record["execution"] |= {"mfu": 0.5, "peak_memory_bytes": 10**9, "lowering": lowering}
    path.write_text(json.dumps(record))
    table = pandas.read_csv(collect(tmp_path).table)
    first = table.iloc[0]
    assert (first["mfu"], first["peak_memory_bytes"]) == (0.5, 10**9)
    assert first["mesh"] == "run 1 x data 1 x fsdp 4 x tensor 1"
    assert (first["attention_kernel"], first["micro_batches"]) == ("cudnn", 2)
    assert not {"remat", "pack"} & {*table.columns} and table["mesh"].isna().sum() == 1


def test_a_spike_of_the_loss_is_flagged(tmp_path: Path, plan: dict) -> None:
    metrics = ResultsFolder(tmp_path).run_dir(by_label(plan, "w8-s50")["run_id"]) / "metrics.jsonl"
    rows = [{"step": step, "tokens": step, "flops": step, "train/loss": 2.5} for step in range(3, 30)]
    rows[-3]["train/loss"] = 3.5
    with open(metrics, "a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    table = pandas.read_csv(collect(tmp_path).table)
    assert table["flags"].iloc[0] == "loss_spike" and table["flags"].isna().sum() == 1


def test_large_counts_stay_numbers(tmp_path: Path, plan: dict) -> None:
    path = ResultsFolder(tmp_path).run_dir(by_label(plan, "w8-s50")["run_id"]) / "record.json"
    record = json.loads(path.read_text())
    record["execution"]["flops_spent"] = 10**24
    path.write_text(json.dumps(record))
    assert pandas.read_csv(collect(tmp_path).table)["flops_spent"].iloc[0] == 1e24


def test_rates_of_roles_have_columns_where_one_is_set(tmp_path: Path) -> None:
    plan = make_plan([(8, 50), (16, 50)], rate=0.01, embedding={16: 0.05})
    with open_tiny(tmp_path, plan) as sweep:
        sweep.run_jobs({"fit"})
    table = pandas.read_csv(collect(tmp_path).table)
    assert list(table["learning_rate/embedding"]) == [0.01, 0.05], "left out, it is the learning rate"
    assert not {"learning_rate/head", "learning_rate/matrix"} & {*table.columns}
