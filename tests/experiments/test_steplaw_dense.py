"""Step Law's rows: refits made before are met, and a law that costs loss fails."""

from __future__ import annotations

import json

import pytest


@pytest.mark.slow
def test_refits_are_met(script, published, failed):
    assert failed(script("steplaw_dense").verdicts(published / "steplaw_dense")) == (7, [])


@pytest.mark.slow
def test_a_worse_law_fails(script, published, failed, monkeypatch):
    steplaw = script("steplaw_dense")
    monkeypatch.setitem(steplaw.CONSTANTS, "lr", 3 * 1.79)
    table = steplaw.analysis.load(published / "steplaw_dense" / "runs.csv")
    count, lines = failed(steplaw.cost(table))
    assert count == 1 and "largest loss cost" in lines[0]


def test_targets_are_those_of_the_data_folder(script, published):
    wanted = json.loads((published / "EXPECTED.json").read_text())["steplaw_dense"]
    steplaw = script("steplaw_dense")
    names = {"lr, N": "lr_N", "lr, D": "lr_D", "batch, D": "bs_D"}
    here = {names[e]: float(v) for e, v in steplaw.REFITTED["best run of each cell"].items()}
    assert here == wanted["here_cell_argmin_smooth"]
    law, batch = wanted["published"]["lr"], wanted["published"]["bs_tokens"]
    assert {"lr": law["c"], "batch": batch["k"]} == steplaw.CONSTANTS
    assert {"lr, N": law["N"], "lr, D": law["D"], "batch, D": batch["D"]} == steplaw.PUBLISHED
