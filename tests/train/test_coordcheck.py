"""Coordinate checks of real training: which parametrization keeps sizes over width, and over depth."""

import dataclasses
from typing import Any

import pandas as pd
import pytest

from analysis import coordinates
from scaling.model import parametrization
from scaling.plan.coordcheck import cells_of, families_to_check
from scaling.spec.load import study_from_dict
from scaling.train.coordcheck import _compiled, measure
from scaling.train.work import load_data
from tests.plan.studies import changed

WIDTHS, DEPTHS = (32, 64, 128), (4, 8, 16)
MUP = {"kind": "mup", "base_width": 32}
COMPLETEP = {"kind": "completep", "base_width": 32, "base_depth": 4}


@pytest.fixture(autouse=True)
def _compiled_anew():
    """Programs know what a table was when they were compiled."""
    _compiled.cache_clear()
    yield
    _compiled.cache_clear()


def checked(written: Any, over: coordinates.Over = "width", sizes=WIDTHS):
    recipe = {"recipe__parametrization": written, "recipe__optimizer__learning_rate": 0.003}
    study = study_from_dict(changed(**recipe, recipe__batch_tokens=1024, family__widths=[32, 64]))
    sizes = {"widths": sizes, "depths": None} if over == "width" else {"widths": None, "depths": sizes}
    rows = []
    for cell in cells_of(study, families_to_check(study.family, **sizes), seeds=3, steps=8):
        rows += cell.rows(measure(cell.run, load_data(cell.data)))
    return coordinates.check(pd.DataFrame(rows), over=over)


def test_rows_have_every_step_and_place_and_end_where_a_run_diverges():
    study = study_from_dict(changed(recipe__optimizer__learning_rate=1e30, family__widths=[16, 24]))
    [cell, _] = cells_of(study, families_to_check(study.family, (8, 16), None), seeds=1, steps=3)
    rows: Any = pd.DataFrame(cell.rows(measure(cell.run, load_data(cell.data))))
    assert len(rows) == 4 * (1 + 3 * 2 + 1) and {*rows["width"]} == {8}
    assert rows[rows["step"] == 0]["size"].notna().all() and (rows[rows["step"] == 0]["change"] == 0).all()
    assert rows[rows["step"] == 3]["size"].isna().all()


@pytest.mark.slow
def test_over_width_mup_is_flat_and_the_standard_parametrization_is_not():
    mup = checked(MUP)
    assert mup.statuses["mup"].code in ("flat", "unclear")
    assert max(abs(e.exponent) for e in mup.exponents if e.measure == "change") < 0.2
    standard = checked("standard")
    assert standard.statuses["standard"].code == "not_flat"
    changes = [e for e in standard.exponents if e.measure == "change" and e.place != "embedding"]
    assert min(e.exponent for e in changes) > 0.3


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["rate of matrices", "logits"])
def test_a_wrong_multiplier_is_caught(wrong, monkeypatch):
    if wrong == "logits":
        monkeypatch.setattr(parametrization, "LOGITS", parametrization.ONE)
    else:
        row = dataclasses.replace(parametrization.TABLE["matrix"], rate=parametrization.ONE)
        monkeypatch.setitem(parametrization.TABLE, "matrix", row)
    assert checked(MUP).statuses["mup"].code == "not_flat"


@pytest.mark.slow
def test_over_depth_completep_is_flat_and_mup_is_not():
    assert checked(MUP, "depth", DEPTHS).statuses["mup"].code == "not_flat"
    found = checked(COMPLETEP, "depth", DEPTHS)
    assert found.statuses["completep"].code in ("flat", "unclear")
    assert max(abs(e.exponent) for e in found.exponents if e.measure == "change") < 0.1
