"""The table of runs of a trainer of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas
import pytest

from scaling.plan.expand import plan_study
from scaling.plan.plan import Plan
from scaling.spec.load import study_from_dict
from scaling.store.records import Record
from scaling.sweep.collect import COLUMNS, EXTERNAL, collect

STUDY: dict[str, Any] = {
    "study": "mine",
    "trainer": {"kind": "command", "version": 1, "argv": ["train", "{run}", "{out}"]},
    "data": {"corpus": {"kind": "external", "tokens": 5000}, "context": 8},
    "family": {
        "kind": "external",
        "sizes": [
            {"name": "a", "params": 100, "flops_per_token": 600, "config": {"n_embd": 4, "n_layer": 2}},
            {"name": "b", "params": 200, "flops_per_token": 1200, "params_embedding": 50, "params_head": 10},
        ],
    },
    "recipe": {
        "kind": "external",
        "learning_rate": {"kind": "power", "coefficient": 1, "of": "params", "exponent": -1},
        "batch_tokens": 16,
        "schedule": {"kind": "cosine"},
        "optimizer": "sgd",
        "weight_decay": 0.5,
    },
    "design": {"kind": "grid", "tokens": [8000]},
    "axes": [{"cross": {"recipe.dropout": [0, 0.5]}}],
}
TOLD: dict[str, Any] = {"accuracy": 0.25, "bits_per_byte": 1.5, "loss": 99.0, "note": "late", "fine": True}


@pytest.fixture
def done(tmp_path: Path) -> tuple[Path, Plan]:
    plan = plan_study(study_from_dict(STUDY))
    (tmp_path / "plan.json").write_text(json.dumps(plan.to_json()))
    for planned in plan.runs[:3]:
        folder = tmp_path / "runs" / planned.run_id
        folder.mkdir(parents=True)
        unknown = ("status_reason", "loss_se_eval", "bits_per_byte", "eval_tokens", "document_losses")
        result = dict.fromkeys(unknown) | {
            **{"status": "ok", "loss": 2.0, "eval_id": plan.data.eval_id, "train_loss": 2.5},
            **{"steps": planned.run.steps, "tokens": planned.run.tokens, "unique_tokens": 5000},
            **{"epochs": planned.epochs, "params": vars(planned.run.counts), "columns": TOLD},
        }
        record = {"schema": 1, "run_id": planned.run_id, "result": result, "execution": {"wall_seconds": 3.0}}
        (folder / "record.json").write_text(json.dumps(Record.model_validate(record).to_json()))
        rows = [{"step": s, "tokens": 16 * s, "train/loss": 3.0, "train/top1": 0.1} for s in (1, 500)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path, plan


def test_columns_are_what_is_known_and_what_the_trainer_told(done: tuple[Path, Plan]) -> None:
    folder, plan = done
    collected = collect(folder)
    table = pandas.read_csv(collected.table)
    assert [*table.columns] == [
        *COLUMNS,
        "dropout",
        "accuracy",
        "note",
        "fine",
    ] and EXTERNAL.keys() == COLUMNS.keys()
    a, _, b = table.to_dict("records")
    assert (a["params"], a["tokens"], a["flops"], a["loss"]) == (100, 8000, 8000 * 600, 2.0)
    assert (a["epochs"], a["unique_tokens"], a["steps"], a["batch_tokens"]) == (1.6, 5000, 500, 16)
    assert (a["width"], a["depth"], a["context"], a["seed"], a["seed_order"]) == (4, 2, 8, 0, 0)
    assert (a["learning_rate"], a["weight_decay"], a["optimizer"], a["schedule"]) == (
        0.01,
        0.5,
        "sgd",
        "cosine",
    )
    assert (a["accuracy"], a["bits_per_byte"], a["note"], a["fine"], a["dropout"]) == (
        0.25,
        1.5,
        "late",
        True,
        0,
    )
    empty = ["params_body", "params_active", "heads", "vocab_size", "tokenizer", "warmup_tokens", "mfu"]
    assert all(pandas.isna(a[name]) for name in empty)
    assert (b["params_body"], b["params_head"], b["flops_6n_body"]) == (140, 10, 6 * 140 * 8000)
    assert [missing.state for missing in collected.missing] == ["pending"] and len(plan.runs) == 4


def test_the_table_and_curves_are_read_by_the_analysis(done: tuple[Path, Plan]) -> None:
    from analysis.tables.loading import load

    folder, _ = done
    collected = collect(folder)
    table = load(folder)
    assert len(table) == 3
    curves = pandas.read_parquet(collected.curves)
    assert {"train/loss", "train/top1"} <= {*curves.columns} and len(curves) == 6
