"""All variants of a table at once."""

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, figures, fit
from analysis.tables.table import tell
from analysis.tables.units import BYTE
from analysis.variants import comparison
from analysis.variants.comparison import Variants, compare_variants, names
from analysis.variants.contrast import Contrast


@pytest.fixture(scope="module")
def table(studied):
    table = studied(7, worth=1.3)
    third = table[table["variant"] == "base"].assign(variant="third")
    third = third.assign(run_id=third["run_id"] + "t", trunk_id=third["trunk_id"] + "t")
    return pd.concat([table, third], ignore_index=True)


@pytest.fixture(scope="module")
def found(table):
    return compare_variants(table, bootstrap=60)


def test_every_other_variant_is_held_against_the_first(found):
    assert found.reference == "base" and [c.variant for c in found.contrasts] == ["new", "third"]
    assert [c.code for c in found.contrasts] == ["needs_more", "no_difference"]
    again = Variants.from_json(found.to_json())
    assert again == found and str(again) == str(found)
    assert str(found).startswith("VARIANTS (90% intervals") and str(found).count("verdict: ") == 2


def test_what_a_comparison_leaves_out_or_mixes_is_said(table, monkeypatch):
    monkeypatch.setattr(comparison, "contrast", lambda frame, column, reference, other, **_: Contrast(
        other, reference, None))  # fmt: skip
    lost = (table["variant"] == "new") & (table["width"] == 120)
    cut = table.assign(
        status=np.where(lost, "diverged", "ok"), loss=table["loss"].where(~lost),
        eval_id=np.where(table["variant"] == "third", "b", "a"),
    )  # fmt: skip
    found = compare_variants(cut)
    assert "new: 4 of 28 runs did not end well" in found.notes[0]
    assert "third: evaluated on another text than base" in found.notes[1] and len(found.notes) == 2
    assert all(f"  note: {note}" in str(found) for note in found.notes)
    assert not compare_variants(cut, where="width < 100").notes[0].startswith("new")
    other = table.assign(vocab_size=np.where(table["variant"] == "new", 1024, 256))
    new, third = compare_variants(other).contrasts
    assert new.code == "not_identified" and "vocab_size is 256 in base and 1024 in new" in new.unlike
    assert not third.unlike and new.unlike in str(compare_variants(other))
    tell(other, units={"loss": BYTE})
    assert not compare_variants(other).contrasts[0].unlike


def test_a_learning_rate_is_the_best_of_each_variant(studied, monkeypatch):
    compared = []
    monkeypatch.setattr(comparison, "contrast", lambda frame, column, reference, other, **_: compared.append(
        set(frame["run_id"])) or Contrast(other, reference, None))  # fmt: skip
    table = studied(8, worth=1.3).assign(learning_rate=0.01)
    poor = table.assign(learning_rate=0.02, loss=1.2 * table["loss"], run_id=table["run_id"] + "p")
    both = pd.concat([table, poor], ignore_index=True)
    compare_variants(both)
    assert compared == [set(table["run_id"])]


def test_names_are_in_the_order_of_the_table_and_all_or_none(table):
    assert names(table) == ("base", "new", "third")
    assert names(table.assign(variant=None)) == names(table.drop(columns="variant")) == ()
    assert names(table[table["variant"] == "new"]) == ()
    with pytest.raises(AnalysisError, match="'variant': is empty in 28 rows and names new, third"):
        names(table.assign(variant=table["variant"].where(table["variant"] != "base")))
    with pytest.raises(AnalysisError, match="two variants or more"):
        compare_variants(table[table["variant"] == "new"])


def test_the_figure_has_a_law_and_a_row_for_each(table, found):
    fits = {name: fit("chinchilla", table[table["variant"] == name], bootstrap=0) for name in names(table)}
    left, right = figures.variants(table, fits, found)
    assert left.get_legend_handles_labels()[1] == ["base", "new", "third"]
    assert sum(len(line.get_xdata()) == 60 for line in left.lines) == 3
    values = [line.get_xdata()[0] for line in right.lines if line.get_marker() == "o"]
    expected = {worth.multiplier for c in found.contrasts for worth in (*c.worth, *c.own_worth)}
    assert {float(v) for v in values} == expected
