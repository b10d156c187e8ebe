from __future__ import annotations

from scaling.plan.expand import make_plan
from scaling.spec.load import study_from_dict
from tests.plan.studies import changed, fake_index


def notes(train_windows: int) -> list[str]:
    """The notes on repetition of runs of 2,000 and 4,000 sequences."""
    plan = make_plan(study_from_dict(changed()), fake_index(train_windows))
    return [note for note in plan.notes if "read their text" in note]


def test_text_read_more_than_four_times_is_noted() -> None:
    assert notes(1000) == []
    (note,) = notes(999)
    assert note.startswith("2 of 4 runs read their text more than 4 times") and "2305.16264" in note
    (note,) = notes(400)
    assert note.startswith("4 of 4 runs") and " 10 times" in note


def test_text_read_a_hundred_times_is_noted_loudly() -> None:
    assert not notes(40)[0].startswith("TOO LITTLE TEXT")
    (note,) = notes(39)
    assert note.startswith("TOO LITTLE TEXT: 4 of 4 runs") and "103 times" in note
    assert " 4,000 times" in notes(1)[0]
