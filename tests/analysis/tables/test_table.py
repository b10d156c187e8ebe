"""A table is checked once, and no selection of its rows is made twice."""

import copy
import functools
from collections import Counter

import pandas as pd
import pytest

from analysis import figures, findings, fit, load
from analysis.tables import checks, loading, runs
from analysis.tables.table import About, Table, about, tell


@pytest.fixture
def counted(monkeypatch):
    """How often tables were checked, and which selections of their rows were made."""
    calls = Counter()
    check, chosen = checks.check, runs._select

    def counting_check(*given, **options):
        calls["checks"] += 1
        return check(*given, **options)

    def counting_select(frame, *asked, **options):
        calls[(id(frame), *asked)] += 1
        return chosen(frame, *asked, **options)

    for module in (checks, loading, runs):
        monkeypatch.setattr(module, "check", counting_check)
    monkeypatch.setattr(runs, "_select", counting_select)
    return calls


def test_loading_analysis_and_figures_check_twice_and_select_nothing_twice(
    tmp_path, study, counted, monkeypatch
):
    monkeypatch.setattr(findings, "fit", functools.partial(fit, bootstrap=0))
    monkeypatch.setattr(figures, "save", lambda drawn, folder, _: [draw() for draw in drawn.values()][:0])
    study.to_csv(tmp_path / "runs.csv", index=False)
    table = load(tmp_path)
    assert counted["checks"] == 1
    found = findings.examine(table, tmp_path / "forecasts")
    findings.write(found, tmp_path, tmp_path)
    assert counted.pop("checks") == 2  # a user may have changed the frame since it was loaded
    assert counted and max(counted.values()) == 1, counted


def test_a_checked_table_is_taken_as_it_is(study):
    table = checks.checked(study)
    assert checks.checked(table) is table
    kept, left_out = runs.select(table)
    again, _ = runs.select(study)
    pd.testing.assert_frame_equal(kept, again)
    kept["L"], left_out[:] = 0.0, []
    assert runs.select(table)[0]["L"].min() > 0 and runs.select(table)[1], (
        "what one reader does, no other sees"
    )


def test_what_is_known_of_a_frame_is_one_frozen_thing():
    frame = pd.DataFrame({"params": [1.0]})
    assert about(frame) == About() and about(frame).notes == [] and Table(frame).about.unit is None
    tell(frame, units={"loss": "nats per byte"}, read=("a",), remarks=("b",))
    assert list(frame.attrs) == ["table"]
    assert about(frame).notes == ["a", "b"] and about(frame).unit == "nats per byte"
    assert about(frame[frame["params"] > 0]) is about(frame) is copy.deepcopy(about(frame))
