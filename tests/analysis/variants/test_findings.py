"""What a table of two variants and the forecasts beside it say: a law, a forecast and figures for each."""

import functools
from pathlib import Path

import pandas as pd
import pytest

from analysis import figures, findings, fit, ledger
from analysis.variants.comparison import _held_out


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(findings.forecasts, "sensitivity", lambda *given: [])
    monkeypatch.setattr(findings, "fit", functools.partial(fit, bootstrap=0))
    compare = functools.partial(findings.compare_variants, bootstrap=30)
    monkeypatch.setattr(findings, "compare_variants", compare)


@pytest.fixture(scope="module")
def table(studied):
    """Two variants, the second much worse, and one run of each held out."""
    fitted = studied(3, worth=2.0)
    held_out = fitted[fitted["width"] == 64].groupby("variant", sort=False).tail(1).copy()
    held_out = held_out.assign(role="holdout", flops=2.4e12, tokens=3 * held_out["tokens"], loss=[2.14, 2.27])
    held_out["run_id"] += "h"
    return pd.concat([fitted, held_out], ignore_index=True)


def targets(table):
    return table[table["role"] == "holdout"].to_dict(orient="records")


def test_each_held_out_run_is_forecast_by_the_law_of_its_variant(tmp_path, table):
    analysis = findings.analyse(table)
    assert list(analysis.described) == ["base", "new"] and analysis.fit is analysis.described["base"].fit
    frozen = findings.freeze(analysis, targets(table), tmp_path)
    assert [forecast.target["variant"] for forecast in frozen] == ["base", "new"]
    assert frozen[1].prediction > 1.03 * frozen[0].prediction
    assert {run["row"][:12] for run in frozen[1].training} == set(
        table.loc[(table["variant"] == "new") & (table["role"] == "fit"), "run_id"]
    )
    findings.score(table, tmp_path)
    found = findings.examine(table, tmp_path, analysis)
    assert [[trial.forecast for trial in found.trials_of(name)] for name in ("base", "new")] == [
        [frozen[0]],
        [frozen[1]],
    ]
    assert all(abs(trial.score.error) < 0.03 for trial in found.trials)
    assert [score.loss for score in (ledger.load_score(tmp_path, one) for one in frozen)] == [2.14, 2.27]
    heads = [line for line in found.text.splitlines() if line.startswith("VARIANT")]
    assert heads[:2] == ["VARIANT base", "VARIANT new"] and heads[2].startswith("VARIANTS (90% intervals")
    assert found.text.count("OUTCOME") == 2 and "new needs " in found.text


def test_held_out_rows_change_nothing_but_what_was_left_out(table, monkeypatch):
    monkeypatch.setattr(findings, "compare_variants", lambda table, law, target: target or _held_out(table))
    before = findings.analyse(table[table["role"] != "holdout"], 2.4e12)
    assert before.on(table) == findings.analyse(table)


def test_everything_is_written_for_each_variant(tmp_path, table, monkeypatch):
    odd = table.assign(variant=table["variant"].replace("new", "../new (8/3)"))
    monkeypatch.setattr(figures, "save", lambda drawn, folder, _: [Path(folder) / f"{x}.png" for x in drawn])
    found = findings.examine(odd, tmp_path / "forecasts")
    paths = findings.write(found, tmp_path / "runs.csv", tmp_path / "out")
    names = {str(path.relative_to(tmp_path / "out")) for path in paths}
    each = ("base", "%2E%2E%2Fnew (8%2F3)")
    assert {"summary.txt", "fits/variants.json", "figures/variants.png"} < names
    assert {f"fits/{name}/chinchilla.json" for name in each} < names
    assert {f"figures/{name}/overview.png" for name in each} < names
    assert {f"figures/{name}/forecast_and_outcome.png" for name in each} < names
    assert not (tmp_path / "new (8").exists()
