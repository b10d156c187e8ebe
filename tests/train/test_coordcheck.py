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

# The first MLP changes as width^-0.15 from 32 to 64, as ^-0.05 from 64 to 128: 1 / width is not small there.
# Log changes of seeds spread by 0.15 at 64 and by 0.03 at 512: so many are needed.
WIDTHS, DEPTHS = (128, 256, 512), (4, 8, 16)
MUP = {"kind": "mup", "base_width": 128}
COMPLETEP = {"kind": "completep", "base_width": 128, "base_depth": 1}


@pytest.fixture(autouse=True)
def _compiled_anew():
    """Programs know what a table was when they were compiled."""
    _compiled.cache_clear()
    yield
    _compiled.cache_clear()


def rows_of(written: Any, sizes: dict[str, Any], rate: float, seeds: int) -> Any:
    recipe = {"recipe__parametrization": written, "recipe__optimizer__learning_rate": rate}
    study = study_from_dict(changed(**recipe, family__widths=[128, 256], family__head_dim=16))
    rows = []
    for cell in cells_of(study, families_to_check(study.family, **sizes), seeds=seeds, steps=4):
        rows += cell.rows(measure(cell.run, load_data(cell.data)))
    return pd.DataFrame(rows)


def checked(
    written: Any, over: coordinates.Over = "width", *, rate=0.0005, seeds=2
) -> coordinates.Coordinates:
    sizes = {"widths": None, "depths": None} | {f"{over}s": WIDTHS if over == "width" else DEPTHS}
    return coordinates.check(rows_of(written, sizes, rate, seeds), over=over)


def changes(found: coordinates.Coordinates) -> dict[str, coordinates.Exponent]:
    """What the steps changed, by place."""
    return {e.place: e for e in found.exponents if e.measure == "change"}


@pytest.mark.slow
def test_rows_have_every_step_and_place_and_end_where_a_run_diverges():
    study = study_from_dict(changed(recipe__optimizer__learning_rate=1e30, family__widths=[16, 24]))
    [cell, _] = cells_of(study, families_to_check(study.family, (8, 16), None), seeds=1, steps=3)
    rows: Any = pd.DataFrame(cell.rows(measure(cell.run, load_data(cell.data))))
    assert len(rows) == 4 * (1 + 3 * 2 + 1) and {*rows["width"]} == {8}
    assert rows[rows["step"] == 0]["size"].notna().all() and (rows[rows["step"] == 0]["change"] == 0).all()
    assert rows[rows["step"] == 3]["size"].isna().all()


@pytest.mark.slow
def test_at_four_times_the_base_steps_change_layers_and_logits_a_quarter_under_mup():
    change = dict[str, Any]()
    for name, written in (("standard", "standard"), ("mup", {"kind": "mup", "base_width": 16})):
        study = study_from_dict(
            changed(
                recipe__parametrization=written,
                recipe__optimizer__learning_rate=0.0005,
                family={"kind": "width-dial", "depth": 1, "widths": [16, 64], "head_dim": 16},
            )
        )
        [_, wide] = cells_of(study, families_to_check(study.family, None, None), seeds=1, steps=2)
        rows: Any = pd.DataFrame(wide.rows(measure(wide.run, load_data(wide.data))))
        change[name] = rows[rows["step"] == 2].set_index("place")["change"]
    ratio = change["standard"] / change["mup"]
    assert ratio["embedding"] == pytest.approx(1, rel=0.1)
    for place in ("attention", "mlp", "residual", "logits"):
        assert ratio[place] == pytest.approx(4, rel=0.25), ratio


@pytest.mark.slow
def test_over_width_mup_is_flat_at_every_place():
    mup = checked(MUP, seeds=12)
    assert mup.statuses["mup"].code == "flat", mup.summary()
    verdicts = {e.verdict for e in mup.exponents if (e.place, e.measure) != ("logits", "start")}
    assert verdicts == {"flat"}, mup.summary()


@pytest.mark.slow
def test_over_width_all_layers_and_logits_grow_under_the_standard_parametrization():
    standard = checked("standard")
    assert standard.statuses["standard"].code == "not_flat"
    grown = {place for place, e in changes(standard).items() if e.verdict == "grows"}
    assert grown == {*changes(standard)} - {"embedding"}, standard.summary()


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["rate of matrices", "logits"])
def test_a_wrong_multiplier_is_caught(wrong, monkeypatch):
    if wrong == "logits":
        monkeypatch.setattr(parametrization, "LOGITS", parametrization.ONE)
    else:
        row = dataclasses.replace(parametrization.TABLE["matrix"], rate=parametrization.ONE)
        monkeypatch.setitem(parametrization.TABLE, "matrix", row)
    found = checked(MUP)
    assert found.statuses["mup"].code == "not_flat", found.summary()
    at = {place: e.verdict for place, e in changes(found).items()}
    assert at["logits"] == "grows" and (at["last mlp"] == "grows") == (wrong != "logits"), found.summary()


@pytest.mark.slow
def test_over_depth_completep_is_flat_at_every_place_and_mup_is_not():
    completep = checked(COMPLETEP, "depth", rate=0.002, seeds=4)
    assert completep.statuses["completep"].code == "flat", completep.summary()
    verdicts = {e.verdict for e in completep.exponents if (e.place, e.measure) != ("logits", "start")}
    assert verdicts == {"flat"}, completep.summary()
    mup = checked(MUP, "depth", rate=0.002)
    assert mup.statuses["mup"].code == "not_flat"
    grown = {place for place, e in changes(mup).items() if e.verdict == "grows"}
    assert grown == {"middle residual", "last residual"}, mup.summary()
