"""What is said where a family is offered beside runs that are not like its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from scaling.design.mismatch import Ground, mismatches
from scaling.plan.expand import make_plan, plan_study
from scaling.plan.offers import Bounds, offers
from scaling.spec.load import study_from_dict
from tests.plan.studies import changed, fake_index

STUDY = study_from_dict(changed())
INDEX = replace(fake_index(10_000), floor=1.5)
ALIKE = {"tokenizer": "bytes", "vocab_size": 256, "eval_id": INDEX.eval_id}


def runs(**other: Any) -> pd.DataFrame:
    """A table of the study's own runs, with changes."""
    planned = make_plan(STUDY, INDEX).runs
    own = {"N": [r.params for r in planned], "D": [r.run.tokens for r in planned]}
    return pd.DataFrame({**own, "C": [r.flops for r in planned], "L": 2.0, **ALIKE, **other})


def test_nothing_is_said_of_runs_of_the_study() -> None:
    assert list(mismatches(STUDY, INDEX, runs())) == []
    assert list(mismatches(STUDY, INDEX, runs().drop(columns=["tokenizer", "eval_id"]))) == []


def test_a_table_that_does_not_say_of_what_its_losses_are_cannot_be_checked() -> None:
    (text,) = mismatches(STUDY, INDEX, runs().drop(columns=[*ALIKE]))
    assert text.startswith("the table has no tokenizer, vocab_size or eval_id: ") and "(bytes) cannot" in text


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"tokenizer": "bpe-4096"}, "have tokenizer bpe-4096, this study bytes"),
        ({"vocab_size": 4096}, "have vocab_size 4096, this study 256"),
        ({"eval_id": "a" * 12}, f"have eval_id {'a' * 12}, this study {'e' * 12}: losses are over another"),
        ({"L": 6.0}, "a loss of 6, where guessing among the 256 tokens of this study has 5.55"),
        ({"L": 1.4}, "the text of this study an entropy of 1.5"),
        ({"N": 1e9}, "no run of s is like one of the table: N 14.2k to 41.6k beside 1B; give"),
        ({"C": 1.0, "D": 2.0}, "D 128k to 256k beside 2, C "),
    ],
)
def test_what_is_not_alike_is_said(other: dict[str, Any], says: str) -> None:
    (text,) = mismatches(STUDY, INDEX, runs(**other))
    assert says in text


def test_text_that_is_read_again_is_said_with_how_often() -> None:
    found = offers(STUDY, 256, Bounds(1e5, (1e10, 1e12), (1.0, 1e3)))
    dear = max(found, key=lambda offer: offer.tokens)
    cheap = min(found, key=lambda offer: offer.tokens)
    once = Ground(256, float(cheap.tokens))
    assert list(once.repeated([cheap])) == []
    (text,) = replace(once, tokens=dear.tokens / 7).repeated([cheap, dear])
    assert (
        f"1 of 2 runs reads its text more than once, {dear.label} 7 times" in text
        and "less than a new one" in text
    )
    (text,) = replace(once, tokens=dear.tokens / 2).repeated([dear])
    assert "2 times" in text and "nearly as much as new text" in text


def test_the_ground_of_a_plan_is_that_of_its_index() -> None:
    planned = Ground.planned(STUDY.data, make_plan(STUDY, INDEX).runs)
    assert planned == Ground.of(INDEX) == Ground(256, 640_000.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"design": {"kind": "repetition", "unique_tokens": [64_000, 128_000], "epochs": [1, 16]}},
        {"axes": [{"cross": {"data.unique_tokens": [64_000, 128_000]}}]},
    ],
)
def test_parts_of_a_text_are_not_the_ground_of_runs_that_read_all_of_it(changes: dict[str, Any]) -> None:
    study = study_from_dict(changed(**changes))
    plan = plan_study(study)
    assert Ground.planned(study.data, plan.runs) is None
    part = study.data.model_copy(update={"unique_tokens": 128_000})
    found = Ground.planned(part, plan.runs)
    assert found is not None and found.tokens == pytest.approx(128_000, rel=1e-3)
