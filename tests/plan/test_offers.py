"""Cells on offer: none that is there already, and none whose row a fit would leave out."""

from __future__ import annotations

import math
from typing import Any

import pytest

from scaling.plan.expand import plan_study
from scaling.plan.offers import Bounds, offers
from scaling.plan.plan import PlannedRun
from scaling.plan.warnings import WARMUP_SHARE
from scaling.spec.load import study_from_dict
from scaling.spec.models import Study
from tests.plan.studies import changed

WIDE = Bounds(1e6, (1e9, 1e12), (1.0, 1e3))
WSD = {"kind": "wsd", "decay": "20 %"}


def study(warmup: str = "20 steps", **other: Any) -> Study:
    return study_from_dict(changed(recipe__schedule=WSD | {"warmup": warmup}, **other))


def fitted(of: Study) -> list[PlannedRun]:
    return [run for run in plan_study(of).runs if run.role == "fit"]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_run_that_is_there_but_for_a_few_steps_is_not_on_offer(elsewhere: bool) -> None:
    free = offers(study(), 256, WIDE)
    one = next(offer for offer in free if offer.params == min(o.params for o in free) and offer.steps > 1000)
    near = study(family__widths=[16], design={"kind": "grid", "steps": [one.steps + one.steps // 50]})
    have = fitted(near)
    assert have[0].params == one.params and have[0].run.steps != one.steps
    there = [(float(run.params), float(run.run.tokens)) for run in have]
    left = offers(study(), 256, WIDE, () if elsewhere else have, there if elsewhere else ())
    gone = {(o.params, o.steps) for o in free} - {(o.params, o.steps) for o in left}
    assert (one.params, one.steps) in gone
    assert all(abs(math.log(steps / have[0].run.steps)) < 0.03 for _, steps in gone)
    other = study(recipe__batch_tokens=512)
    assert len(offers(other, 256, WIDE, have)) == len(offers(other, 256, WIDE)), "of another batch"


def test_cells_that_a_fit_would_leave_out_for_their_warmup_are_not_on_offer() -> None:
    on_offer = offers(study("100 steps"), 256, WIDE)
    assert on_offer and min(offer.steps for offer in on_offer) * WARMUP_SHARE >= 100
    assert min(offer.steps for offer in offers(study("25600 tokens"), 256, WIDE)) * WARMUP_SHARE >= 100
    alike = min(offer.steps for offer in offers(study("30 %"), 256, WIDE))
    assert alike < 100, "a share that all runs have is no contrast"
