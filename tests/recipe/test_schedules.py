"""Learning rates of every schedule."""

import numpy as np
import pytest
from pydantic import ValidationError

from scaling.recipe.schedules import SCHEDULES, WRITTEN_SCHEDULES, WSD, Constant, Cosine, Linear
from tests.train.runs import make_run

PEAK = 0.01


def rates(schedule, steps=100):
    return make_run(steps=steps, schedule=schedule, learning_rate=PEAK).learning_rates(0, steps)


@pytest.mark.parametrize("shape", ["linear", "1-sqrt", "cosine"])
def test_wsd_rises_stays_and_falls(shape):
    got = rates(WSD(kind="wsd", warmup=10, decay=20, shape=shape))
    assert got[0] == pytest.approx(PEAK / 10) and got[9] == pytest.approx(PEAK)
    assert (got[9:80] == np.float32(PEAK)).all()
    assert (np.diff(got[79:]) < 0).all() and 0 < got[-1] < PEAK / 5


def test_the_trunk_does_not_depend_on_the_horizon():
    short = rates(WSD(kind="wsd", warmup=10, decay=20, shape="1-sqrt"), 100)
    long = rates(WSD(kind="wsd", warmup=10, decay=80, shape="linear"), 400)
    assert (short[:80] == long[:80]).all()


def test_cosine_linear_and_constant():
    cosine = rates(Cosine(kind="cosine", warmup=10, final_fraction=0.1))
    linear = rates(Linear(kind="linear", warmup=0, final_fraction=0.0))
    assert cosine[-1] == pytest.approx(PEAK / 10, rel=1e-3) and cosine[54] == pytest.approx(
        0.55 * PEAK, rel=0.01
    )
    assert linear[49] == pytest.approx(PEAK / 2) and linear[-1] == 0
    assert (rates(Constant(kind="constant", warmup=0)) == np.float32(PEAK)).all()


def test_any_slice_is_the_slice_of_the_whole():
    run = make_run(steps=100, schedule=WSD(kind="wsd", warmup=10, decay=20, shape="1-sqrt"))
    assert (run.learning_rates(70, 25) == run.learning_rates(0, 100)[70:95]).all()


@pytest.mark.parametrize("kind", SCHEDULES)
def test_written_schedules_become_steps(kind):
    written = WRITTEN_SCHEDULES[kind](kind=kind, warmup="10 %")
    run = written.resolved(steps=1000, warmup_horizon=200, scales={"batch_tokens": 64})
    assert run.warmup == 20
    assert run.json_fields()["warmup_steps"] == 20
    assert type(run).model_validate(run.json_fields()) == run
    assert run.steps_needed() == (220 if kind == "wsd" else 20)
    assert run.branch_step(1000) == {"wsd": 800, "constant": 1000}.get(kind, 0)


def test_names_of_a_run_are_no_names_of_a_spec():
    with pytest.raises(ValidationError, match="warmup_steps"):
        WRITTEN_SCHEDULES["wsd"].model_validate({"kind": "wsd", "warmup_steps": "10 steps"})
    with pytest.raises(ValidationError, match="warmup"):
        WSD(kind="wsd", decay=5)  # a run has no defaults in steps
