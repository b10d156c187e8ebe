import json

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, fit, load
from analysis.tables.missing import missing
from analysis.tables.table import about
from tests.analysis.advice import arguments

SIZES = np.repeat([1e7, 4e7, 1.6e8, 6.4e8], 4)
TOKENS = SIZES * np.tile([10.0, 20.0, 40.0, 80.0], 4)
LOSS = 1.7 + 400 / SIZES**0.34 + 900 / TOKENS**0.3
STEPS = TOKENS / 2**18
KNOWN = {"params": SIZES, "tokens": TOKENS, "loss": LOSS, "flops": 6 * SIZES * TOKENS}


def table(tmp_path, **columns):
    rows = zip(*(np.broadcast_to(column, len(SIZES)).tolist() for column in columns.values()), strict=True)
    lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
    (tmp_path / "runs.csv").write_text("\n".join(lines))
    return tmp_path / "runs.csv"


def refused(path, **options):
    with pytest.raises(AnalysisError) as error:
        load(path, **options)
    return error.value


@pytest.mark.parametrize(
    ("columns", "formula"),
    [
        ({"params": SIZES, "train_steps": STEPS, "tokens_per_step": 2**18}, "train_steps * tokens_per_step"),
        ({"N": SIZES, "iters": 3, "steps": STEPS, "batch_size": 128, "seq_len": 2048},
         "steps * batch_size * seq_len"),
        ({"Model Size": SIZES, "Tokens/Param": TOKENS / SIZES}, "`Model Size` * `Tokens/Param`"),
        ({"params_m": SIZES / 1e6, "tpp": TOKENS / SIZES, "tokens_per_second": 2e5}, "params_m * tpp"),
        ({"tokens": TOKENS, "compute_budget": 6 * SIZES * TOKENS}, "compute_budget / (6 * tokens)"),
        ({"params": SIZES, "ExaFLOPs": 6e-18 * SIZES * TOKENS}, "ExaFLOPs / (6 * params)"),
    ],
)  # fmt: skip
def test_size_and_tokens_follow_from_other_columns(tmp_path, columns, formula):
    path = table(tmp_path, **columns, val_loss=LOSS)
    frame = load(path)
    ours = "params" if "tokens" in columns else "tokens"
    assert f"{ours} = {formula} in every row (no {ours} given)" in about(frame).notes
    np.testing.assert_allclose(frame["tokens"], TOKENS, rtol=1e-9)
    np.testing.assert_allclose(frame["params"], SIZES, rtol=1e-9)
    found = fit("chinchilla", frame, bootstrap=0).solution
    assert found["beta"] == pytest.approx(0.3, abs=1e-3)


def test_quantities_are_stated(tmp_path):
    path = table(tmp_path, params=SIZES, n=STEPS, **{"my batch": 2**18 / 1e3}, loss=LOSS)
    frame = load(path, columns={"tokens": "n * `my batch` * 1000"})
    np.testing.assert_allclose(frame["tokens"], TOKENS)
    assert "tokens = n * `my batch` * 1000, as stated" in about(frame).notes
    np.testing.assert_allclose(load(path, columns={"tokens": "1e9"})["tokens"], 1e9)
    assert "no column 'batches'" in str(refused(path, columns={"tokens": "n * batches"}))
    assert "only '*' and '/' join" in str(refused(path, columns={"tokens": "n ** 2"}))
    assert "not in the file; did you mean 'my batch'" in str(refused(path, columns={"tokens": "my batc"}))
    path = table(tmp_path, params=SIZES, tokens=TOKENS / 2048, loss=LOSS)
    np.testing.assert_allclose(load(path, columns={"tokens": "2048 * tokens"})["tokens"], TOKENS)


def test_ways_that_differ_are_asked_about(tmp_path):
    columns = {"params": SIZES, "steps": STEPS, "batch_tokens": 2**18, "tokens_per_param": 3.0}
    error = refused(table(tmp_path, **columns, loss=LOSS))
    assert "columns={'tokens': 'steps * batch_tokens'} or columns={'tokens': 'params * tok" in str(error)
    np.testing.assert_allclose(load(tmp_path / "runs.csv", **arguments(error))["tokens"], TOKENS)
    error = refused(table(tmp_path, params=SIZES, steps=STEPS, batch_size=2**18, seq_len=64, loss=LOSS))
    assert "'steps * batch_size'" in str(error) and "'steps * batch_size * seq_len'" in str(error)


@pytest.mark.parametrize(
    "other",
    [
        {"tokens_per_second": 25_000.0 * STEPS}, {"batch_size_tokens": 2**18}, {"token_loss": LOSS},
        {"data_id": np.arange(1e6, 1e6 + 16)}, {"eval_tokens": 1e7}, {"unique_tokens": TOKENS},
        {"tokenizer_vocab": 5e4}, {"tokens_per_batch": STEPS}, {"token_accuracy": 0.3},
    ],
)  # fmt: skip
def test_what_is_something_else_is_never_offered_as_tokens(tmp_path, other):
    error = refused(table(tmp_path, params=SIZES, **other, loss=LOSS))
    assert "'tokens' is missing" in str(error) and arguments(error) == {}


def test_only_what_may_be_it_by_size_is_offered(tmp_path):
    path = table(tmp_path, params=SIZES, text_tokens=TOKENS, text_data=TOKENS * 1e9, loss=LOSS)
    assert arguments(error := refused(path)) == {"columns": {"tokens": "text_tokens"}}
    assert "text_data" not in str(error)
    path = table(tmp_path, tokens=TOKENS, params_embed=SIZES, active_params=SIZES, losses=1e3, my_loss=LOSS)
    taken = arguments(refused(path))
    assert taken == {"columns": {"params": "active_params", "loss": "my_loss"}}
    assert load(path, **taken)["loss"].tolist() == LOSS.tolist()
    path = table(tmp_path, params=SIZES, tokens=TOKENS, perplexity_norm=np.exp(LOSS))
    assert arguments(refused(path)) == {}


def test_compute_in_an_unknown_unit_is_asked_about_before_tokens_follow_from_it(tmp_path):
    error = refused(table(tmp_path, params=SIZES, compute=6e-18 * SIZES * TOKENS, loss=LOSS))
    assert "'flops' is 1.15 (median), which cannot be FLOPs of a training run" in str(error)
    assert "'tokens'" not in str(error)
    np.testing.assert_allclose(load(tmp_path / "runs.csv", **arguments(error))["tokens"], TOKENS)


def test_a_size_in_an_unknown_unit_is_asked_about_before_tokens_follow_from_it(tmp_path):
    error = refused(table(tmp_path, params=SIZES / 1e6, token_multiplier=TOKENS / SIZES, loss=LOSS))
    assert "'params' is 100 (median), which cannot be the params of training runs" in str(error)
    assert "(M, B, K would make it usual)" in str(error) and "'tokens'" not in str(error)
    np.testing.assert_allclose(load(tmp_path / "runs.csv", units={"params": "M"})["tokens"], TOKENS)
    error = refused(table(tmp_path, params=SIZES, steps=STEPS, batch_size=256, loss=LOSS))
    assert arguments(error) == {"columns": {"tokens": "steps * batch_size * LENGTH"}}


def test_a_frame_that_was_not_loaded_gets_the_same_advice():
    frame = pd.DataFrame({"params": SIZES, "steps": STEPS, "batch_tokens": 2.0**18, "loss": LOSS})
    said = "".join(map(str, missing("tokens", frame)))
    assert said == "say which it is: columns={'tokens': 'steps * batch_tokens'}"


@pytest.mark.parametrize(
    ("name", "truth"),
    [
        ("steps_batch/runs.csv", {"beta": 0.30, "alpha": 0.34, "E": 1.7}),
        ("steps_batch/runs_batch_grows.csv", {"beta": 0.30, "alpha": 0.34, "E": 1.7}),
        ("ratio/runs.csv", {"beta": 0.30, "alpha": 0.34, "E": 1.7}),
        ("budget_json/isoflops.json", {"E": 1.9, "A": 350, "B": 1500, "alpha": 0.33, "beta": 0.36}),
    ],
)
def test_tokens_in_the_wild(field, name, truth):
    frame = load(field / name)
    assert any(note.startswith("tokens = ") for note in about(frame).notes)
    found = fit("chinchilla", frame, bootstrap=0)
    tolerance = 1e-3 if name.endswith("json") else 0.02
    assert {x: found.solution[x] for x in truth} == pytest.approx(truth, rel=tolerance)
    if name == "budget_json/isoflops.json":
        given = json.loads((field / name).read_text())
        assert frame["flops"].tolist() == [run["compute_budget"] for run in given]


def test_a_count_without_embedding_is_offered_before_what_compute_says(tmp_path):
    path = table(tmp_path, params_body=SIZES, tokens=TOKENS, flops=8 * SIZES * TOKENS, loss=LOSS)
    assert "flops" not in str(error := refused(path))
    assert arguments(error) == {"columns": {"params": "params_body"}}
