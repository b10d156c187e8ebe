import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, load, select
from analysis.tables import clusters, seed_noise


def write(tmp_path, text, name="runs.csv"):
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_folder_csv_and_parquet_hold_the_same_table(tmp_path, study):
    study.to_csv(tmp_path / "runs.csv", index=False)
    study.to_parquet(tmp_path / "runs.parquet")
    left, right = load(tmp_path), load(tmp_path / "runs.parquet")
    np.testing.assert_allclose(left["loss"], right["loss"], rtol=1e-12)
    assert list(left.columns) == list(right.columns)


def test_missing_flops_and_role_are_filled_and_said(tmp_path):
    frame = load(write(tmp_path, "params,tokens,loss\n1000,2000,3.5\n"))
    assert frame.loc[0, "flops"] == 6 * 1000 * 2000
    assert frame.loc[0, "role"] == "fit"
    assert any("6 x params x tokens in 1 of 1" in note for note in frame.attrs["notes"])


def test_all_problems_are_reported_at_once(tmp_path):
    text = "run_id,params,tokens,loss\na,True,1e6,2\nb,False,x,-1\nb,True,1e6,nan\n"
    with pytest.raises(AnalysisError) as error:
        load(write(tmp_path, text))
    message = str(error.value)
    assert "'params' has booleans in a, b, b" in message
    assert "'tokens' is not a number in b" in message and "'x'" in message
    assert "'loss' must be finite and positive" in message and "b = -1" in message and "b = nan" in message
    assert "'run_id': b more than once" in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("params,loss\n1,2\n", "'tokens' is missing"),
        ("params,tokens,loss\n", "no rows"),
        ("params,tokens,loss\n0,2,3\n", "row 0 = 0"),
        ("params,tokens,loss\n1,inf,3\n", "row 0 = inf"),
        ("", "cannot be read"),
    ],
)
def test_bad_tables(tmp_path, text, says):
    with pytest.raises(AnalysisError, match=says):
        load(write(tmp_path, text))


def test_missing_file():
    with pytest.raises(AnalysisError, match="no such file"):
        load("nowhere")


def test_diverged_rows_may_lack_their_loss(tmp_path):
    frame = load(write(tmp_path, "params,tokens,loss,status\n1,2,3,ok\n1,3,,diverged\n"))
    kept, excluded = select(frame)
    assert len(kept) == 1
    assert excluded == [{"row": "row 1", "reason": "status is diverged"}]


def test_select_counts_every_row_it_leaves_out(study):
    table = study.copy()
    table.loc[0, "loss"] = np.nan
    table.loc[1, "loss"] = -2.0
    table.loc[2, ["status", "status_reason"]] = ["diverged", "loss not finite at step 7"]
    kept, excluded = select(table, convention="body")
    reasons = [item["reason"] for item in excluded]
    assert len(kept) + len(excluded) == len(table)
    assert reasons[0].startswith("L = nan") and reasons[1].startswith("L = -2")
    assert reasons[2] == "status is diverged: loss not finite at step 7"
    assert reasons.count("role is noise") == 3 and reasons.count("role is holdout") == 1
    assert (kept["N"] == kept["params_body"]).all() and kept.attrs["convention"] == "body"


def test_convention_picks_size_and_compute(study):
    kept, _ = select(study, convention="kaplan")
    np.testing.assert_allclose(kept["C"], 6 * kept["params_body"] * kept["tokens"])
    with pytest.raises(AnalysisError, match="needs column 'params_body'"):
        select(study.drop(columns="params_body"), convention="body")
    with pytest.raises(AnalysisError, match="'ours' is unknown"):
        select(study, convention="ours")


def test_clusters_by_trunk_then_seed_and_size_then_size(study):
    fitted = study[study["role"] == "fit"]
    assert clusters(fitted)[1] == "trunk"
    assert clusters(fitted.drop(columns="trunk_id"))[1] == "seed and size"
    index, by = clusters(fitted[["params", "tokens", "loss"]])
    assert by == "size" and index.max() == 6


def test_seed_noise_pools_the_cell_of_the_noise_runs():
    frame = pd.DataFrame(
        {"params": [10.0] * 3 + [20.0] * 2, "tokens": 100.0, "loss": np.exp([0.01, 0.03, 0.05, 1.0, 2.0]),
         "role": ["fit", "noise", "noise", "fit", "fit"]}
    )  # fmt: skip
    assert seed_noise(frame) == {"sd_log": pytest.approx(0.02), "degrees": 2, "cells": 1}
    assert seed_noise(frame[frame["role"] == "fit"]) is None
