"""Rules for flagged runs: what is dropped is listed by its flag, what is used is said."""

import numpy as np
import pytest

from analysis import AnalysisError, fit, isoflop, load, select
from analysis.laws.lookup import require
from analysis.referee.page import TESTS
from analysis.referee.subject import Subject
from analysis.tables import flags
from analysis.tables.table import about


@pytest.fixture
def flagged(study):
    """Ten runs of the study, of 28 fitted, with flags of four kinds; 3 of them drop."""
    flags = np.full(len(study), None, object)
    flags[:3], flags[3:6], flags[6:9], flags[9] = "undercooled", "loss_spike", "eval_noise|loss_spike", "mine"
    flags[-1] = "undercooled"  # of the held-out run, which is not fitted
    return study.assign(flags=flags)


def reasons(left_out):
    return [row["reason"] for row in left_out if row["reason"].startswith("flag ")]


def test_our_rules_drop_what_biases_a_loss_and_use_the_rest(flagged):
    found = fit("chinchilla", flagged, bootstrap=0)
    assert len(found.data["row"]) == 25 and reasons(found.excluded) == 3 * [
        "flag undercooled (the learning rate ends high, or decays over too few steps)"
    ]
    notes = [note for note in found.notes if "with flag" in note]
    assert [note.partition(" (")[0].partition(":")[0] for note in notes] == [
        "6 of 25 runs are used with flag loss_spike",
        "3 of 25 runs are used with flag eval_noise",
        "1 of 25 runs are used with flag mine",
    ]
    assert flagged["label"][3] in notes[0]
    without = fit("chinchilla", flagged[flagged["flags"] != "undercooled"].drop(columns="flags"), bootstrap=0)
    assert found.solution == without.solution
    assert len(reasons(isoflop.minima(flagged).excluded)) == 3


def test_the_referee_counts_what_was_dropped_however_it_is_worded(flagged, monkeypatch):
    monkeypatch.setattr(flags, "_named", lambda flag: f"{flag}, in other words")
    kept, left_out = select(flagged)
    assert about(kept).dropped == 3 and len(left_out) > 3  # the held-out runs as well
    outcome = TESTS["flags"].ask(Subject(require("chinchilla"), flagged, {"bootstrap": 0}))
    assert "; 3 more are left out for theirs" in outcome.message


@pytest.mark.parametrize("how", ["fit", "load"])
def test_a_user_says_which_flags_drop(flagged, tmp_path, how):
    rules = {"undercooled": "use", "loss_spike": "drop", "mine": "drop"}
    if how == "load":
        flagged.to_csv(tmp_path / "runs.csv", index=False)
        found = fit("chinchilla", load(tmp_path / "runs.csv", flags=rules), bootstrap=0)
    else:
        found = fit("chinchilla", flagged, bootstrap=0, flags=rules)
    assert len(found.data["row"]) == 21 and len(reasons(found.excluded)) == 7
    assert any("3 of 21 runs are used with flag undercooled" in note for note in found.notes)


def test_what_every_run_has_is_no_contrast_unless_it_is_asked_for(study):
    all_ = study.assign(flags="undercooled")
    kept, left_out = select(all_)
    assert len(kept) == 28 and not reasons(left_out)
    notes = fit("chinchilla", all_, bootstrap=0).notes
    assert any(note.startswith("every run has flag undercooled") for note in notes)
    asked = fit("chinchilla", all_, bootstrap=0, flags={"undercooled": "drop"})
    assert asked.status.code == "not_identified" and "28 rows: flag undercooled" in asked.status.message


@pytest.mark.parametrize(
    ("rules", "message"), [({"undercooled": "maybe"}, "use or drop"), ({"undercoled": "use"}, "undercooled")]
)
def test_a_rule_of_another_form_is_refused(flagged, tmp_path, rules, message):
    flagged.to_csv(tmp_path / "runs.csv", index=False)
    for call in (
        lambda: fit("chinchilla", flagged, flags=rules),
        lambda: load(tmp_path / "runs.csv", flags=rules),
    ):
        with pytest.raises(AnalysisError, match=message):
            call()
