from __future__ import annotations

from dataclasses import replace

from scaling.corpora.quotas import BLOCK
from scaling.data.index import IndexedSource
from scaling.plan.expand import make_plan
from scaling.plan.warnings import plan_warnings
from scaling.spec.load import study_from_dict
from tests.plan.studies import changed, fake_index


def texts(train_windows: int) -> list[str]:
    """The warnings of repetition of runs of 2,000 and 4,000 sequences."""
    plan = make_plan(study_from_dict(changed()), fake_index(train_windows))
    return [found.text for found in plan_warnings(plan) if found.kind == "repetition"]


def test_text_read_more_than_four_times_is_warned_of() -> None:
    assert texts(1000) == []
    (text,) = texts(999)
    assert text.startswith("2 of 4 runs read their text more than 4 times") and "2305.16264" in text
    assert text.endswith("data-constrained")
    (text,) = texts(400)
    assert text.startswith("4 of 4 runs") and " 10 times" in text


def test_text_read_a_hundred_times_is_learnt_by_heart() -> None:
    assert "by heart" not in texts(40)[0]
    (text,) = texts(39)
    assert "103 times" in text and "by heart" in text
    assert " 4,000 times" in texts(1)[0]


def test_a_source_of_a_mixture_that_is_read_often_is_noted() -> None:
    def notes(windows: int) -> list[str]:
        sources = [IndexedSource(name, None, BLOCK // 2, n, n) for name, n in (("a", windows), ("b", 5000))]
        index = replace(fake_index(), sources=tuple(sources))
        return [x for x in make_plan(study_from_dict(changed()), index).notes if "source of their" in x]

    assert notes(500) == []
    (note,) = notes(400)
    assert (
        note.startswith("2 of 4 runs read a source of their mixture more than 4 times") and " 5 times" in note
    )
