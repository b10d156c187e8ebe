"""Files in the wild: the right value, or a refusal whose advice, followed to the letter, gives it."""

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, fit, load
from tests.analysis.advice import load_as_advised

RIGHT = {"E": 1.754, "alpha": 0.349, "beta": 0.297}


def test_one_table_in_twenty_formats(field):
    files = sorted(path for path in (field / "formats").iterdir() if path.name != "README.md")
    refused, last = [], pd.DataFrame()
    for path in files:
        table, refusals = load_as_advised(path)
        refused += [path.name] if refusals else []
        within = 0.02 if len(table) == 25 else 0.05  # seven cells of one file hold no loss
        cells = table[["params", "tokens", "loss"]].reset_index(drop=True)
        if not cells.equals(last):  # of equal tables one is fitted
            last, found = cells, fit("chinchilla", table, bootstrap=0).solution
        for name, value in RIGHT.items():
            assert found[name] == pytest.approx(value, abs=within), path.name
    assert len(files) >= 20 and len(refused) <= len(files) / 4, refused


def test_a_trainer_state_needs_what_it_lacks(field):
    path = field / "hf_trainer" / "trainer_state.json"
    with pytest.raises(AnalysisError, match=r"of Hugging Face Trainer\): column 'params' is missing"):
        load(path)
    table = load(path, columns={"params": "7e7", "tokens": "step * 524288"})
    assert len(table) == 1 and table["tokens"].tolist() == [2000 * 524288]


def test_results_of_the_harness_need_tokens(field):
    path = field / "lm_eval" / "results_2025.json"
    with pytest.raises(AnalysisError, match=r"of lm-evaluation-harness\): column 'tokens' is missing"):
        load(path)
    stated = {"columns": {"loss": "wikitext/bits_per_byte", "tokens": "3e11"}, "units": {"loss": "bits/byte"}}
    table = load(path, **stated)
    assert table["loss"].tolist() == [pytest.approx(1.132 * np.log(2))] and table["params"].tolist() == [
        70426624
    ]


def test_compute_gives_tokens(field):
    table, refusals = load_as_advised(field / "budget_json" / "isoflops.json")
    found = fit("chinchilla", table, bootstrap=0).solution
    assert not refusals and {x: found[x] for x in ("E", "alpha", "beta")} == pytest.approx(
        {"E": 1.9, "alpha": 0.33, "beta": 0.36}, abs=2e-3
    )
