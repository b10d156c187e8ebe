"""A short form of the second half of ``benchmarks/fuzz_tables.py``."""

import random
from functools import partial

import pytest

from benchmarks.fuzz_tables import Judge, Tally, attempt, judge_wild
from benchmarks.wild_tables import Wild, clean


def test_wild_tables_give_the_law_or_name_the_cause(tmp_path):
    tally = Tally(tmp_path / "kept")
    judge_wild(10, 3, tmp_path, tally)
    assert [outcome.fault for outcome in tally.outcomes if outcome.fault] == []
    assert sum(outcome.kind.startswith("right") for outcome in tally.outcomes) > 4


@pytest.mark.parametrize(
    ("causes", "kind"), [([], "fault: wrong law"), (["clusters"], "other law, cause named")]
)
def test_another_law_is_a_fault_unless_a_note_names_the_cause(tmp_path, causes, kind):
    wild, file = Wild(clean(), causes=causes), tmp_path / "runs.csv"
    wild.cells["loss"] *= 1.2
    file.write_bytes(wild.text())
    assert attempt(file, partial(Judge(tmp_path, random.Random(0)), wild=wild)).kind == kind
