"""The files of a trainer of one's own: what is believed of them, and what is said of the rest."""

import json
import math
import re
from pathlib import Path

import pytest

from scaling.errors import UserError
from scaling.supervisor.contract import FILES, RunFile, json_schemas, read_result, read_row

ID = "a" * 12
ASKED = RunFile.model_validate(
    {
        **{"run_id": ID, "start": 2, "resumed": False, "study": "s", "label": "l", "seed": 0, "order": 0},
        **{"size": {"name": "x", "params": 10, "flops_per_token": 60, "config": {}}, "data": {}},
        **{"context": 8, "steps": 100, "batch_sequences": 2, "batch_tokens": 16, "tokens": 1600},
        **{
            "learning_rate": None,
            "schedule": None,
            "recipe": {},
            "evaluate_at": [],
            "checkpoint_seconds": 60,
        },
        "paths": {"out": "/o", "metrics": "/m", "result": "/r", "checkpoints": "/c"},
    }
)


def row(line: str, last: int = 1):
    return read_row(line.encode(), ASKED, last, "metrics.jsonl:3")


def result(**fields):
    return read_result(json.dumps({"run_id": ID, "loss": 2.0} | fields).encode(), ASKED, "result.json")


def test_lines_are_believed():
    assert row('{"step": 1, "train/loss": 2.5}').values == {"train/loss": 2.5}
    assert row('{"step": 2.0, "tokens": 32, "eval/x": null}').values == {"eval/x": None}
    assert row('{"step": 100, "train/loss": NaN, "a/b": 1}').values == {"train/loss": None, "a/b": 1.0}


@pytest.mark.parametrize(
    "line, said",
    [
        ('{"step": 101}', "step = 101, but run.json asks for 100 steps; stop at"),
        ('{"step": 4}', "step = 4, but the row before it has step 5; write rows in order"),
        ('{"step": 0}', "step = 0: must be greater than or equal to 1; see"),
        ('{"step": "6"}', 'step = "6": must be a whole number'),
        ('{"train/loss": 2}', "step: is missing"),
        ('{"step": 6, "train/loss": "2"}', 'train/loss = "2": must be a number'),
        ('{"step": 6, "train/loss": true}', "train/loss = true: must be a number"),
        ('{"step": 6, "a/b": [1]}', "a/b = [1]: must be a number"),
        ('{"step": 6, "a b": 1}', "the name a b must have letters"),
        ('{"step": 6, "tokens": 95}', "tokens = 95, but step 6 of batches of 16 tokens is 96; train on such"),
        ("[1]", "must be an object"),
        ("{", "'{' is no JSON"),
        ('{"a":' * 100_000, "is no JSON"),
        (json.dumps({"step": 6} | {f"x{i}": 1 for i in range(300)}), "must have at most 200 fields"),
        ('"' + "x" * (1 << 20) + '"', "has 1048578 bytes: must be at most 1048576"),
    ],
)
def test_a_wrong_line_is_named_with_field_value_and_rule(line, said):
    with pytest.raises(UserError) as caught:
        row(line, last=5)
    assert str(caught.value).startswith("metrics.jsonl:3: ") and said in str(caught.value)
    assert ";" in str(caught.value)


def test_results_are_believed():
    full = result(start=2, steps=100, tokens=1600, accuracy=0.5, note="hi", good=True, nothing=None)
    assert full.loss == 2.0 and full.divergence is None
    assert full.columns == {"accuracy": 0.5, "note": "hi", "good": True, "nothing": None}
    assert result(other=math.nan).columns == {"other": None}
    assert result(loss=math.nan).divergence == "loss = nan"
    assert result(loss=math.inf).divergence == "loss = inf"
    assert result(loss=None, status="diverged", steps=7).divergence == "said so"
    assert result(loss=None, status="diverged", status_reason="spike").divergence == "spike"


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"loss": None}, 'loss = null: must be a number where status is "ok"'),
        ({"loss": "2"}, 'loss = "2": must be a number'),
        ({"run_id": "b" * 12}, f"run_id = 'bbbbbbbbbbbb', but this run is '{ID}'; copy it"),
        ({"run_id": None}, "run_id = null: must be a valid string"),
        ({"start": 1}, "start = 1, but this is start 2 of the run; copy it"),
        ({"steps": 80}, "steps = 80, but run.json asks for 100; train as many"),
        ({"tokens": 80}, "tokens = 80, but step 100 of batches of 16 tokens is 1600"),
        ({"status": "fine"}, "status = \"fine\": must be 'ok' or 'diverged'"),
        ({"more": {"a": 1}}, 'more = {"a": 1}: must be a number, a text, true, false or null'),
        ({"more": 10**400}, "must be a number of at most 18 digits"),
        ({"more": "x" * 1001}, "must have at most 1000 characters"),
        ({"loss_se": -1}, "loss_se = -1: must be greater than or equal to 0"),
    ],
)
def test_a_wrong_result_is_named_with_field_value_and_rule(fields, said):
    with pytest.raises(UserError) as caught:
        result(**fields)
    assert str(caught.value).startswith("result.json: ") and said in str(caught.value)


def test_there_is_a_schema_of_each_file():
    schemas = json_schemas()
    assert list(schemas) == ["run.json", "metrics.jsonl", "result.json"]
    assert schemas["run.json"]["properties"].keys() == ASKED.model_dump(by_alias=True).keys()
    assert {"step", "train/loss", "eval/loss"} <= schemas["metrics.jsonl"]["properties"].keys()
    assert schemas["result.json"]["required"] == ["run_id", "loss"]


def test_the_examples_of_the_page_are_what_it_says():
    page = (Path(__file__).parents[2] / "docs" / "reference" / "external.md").read_text("utf-8")
    asked, lines, ended = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    run = RunFile.model_validate_json(asked)
    assert (
        run.tokens == run.steps * run.batch_tokens and run.batch_tokens == run.batch_sequences * run.context
    )
    steps = [read_row(line.encode(), run, 1, "page").step for line in lines.splitlines()]
    assert steps == [100, 200]
    assert read_result(ended.encode(), run, "page").columns == {"accuracy": 0.31}
    fields = FILES["result.json"].model_fields
    assert all(f"`{field}`" in page for field in fields)
