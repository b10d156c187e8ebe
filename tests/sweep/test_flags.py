"""Doubts about a loss: each flag on a run that has it, and on none that has not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from scaling.plan.plan import PlannedRun
from scaling.recipe.schedules import WSD, Constant, Cosine
from scaling.run import Run, run_id, trunk_id
from scaling.store.records import Provenance, Record, Result
from scaling.sweep.flags import Recorded, flags, still_falling
from tests.sweep.plans import make_run

DOCUMENTS = {f"d{i}": 0.1 * math.sin(9.0 * i) for i in range(20)}  # how hard they are


def recorded(
    loss: float | None = 2.0,
    *,
    width: int = 8,
    steps: int = 100,
    rate: float = 0.01,
    scatter: Mapping[str, float] | None = None,
    budget: float | None = None,
    role: str = "fit",
    curve: list[dict[str, Any]] | None = None,
    devices: tuple[str, ...] | None = None,
    **changed: Any,
) -> Recorded:
    """A run of ``loss``; ``scatter`` is added to its loss of single documents."""
    run = Run.model_validate(make_run(width, steps, rate).model_copy(update=changed))
    known = dict(job_id=trunk_id(run), trunk_id=trunk_id(run), unique_tokens=run.tokens, epochs=0.5)
    planned = PlannedRun(run_id=run_id(run), label="", role=role, run=run, budget=budget, **known)  # pyright: ignore
    documents = {name: (loss or 0) + d + (scatter or {}).get(name, 0.0) for name, d in DOCUMENTS.items()}
    result = Result(
        status="diverged" if loss is None else "ok", status_reason=None, loss=loss, loss_se_eval=None,
        bits_per_byte=None, eval_tokens=None, eval_id="e" * 12, train_loss=None, steps=steps,
        tokens=run.tokens, unique_tokens=run.tokens, epochs=0.5, params=run.counts,
        document_losses=documents if loss is not None else None,
    )  # fmt: skip
    record = Record(run_id=run_id(run), result=result, execution=Provenance(earlier_devices=devices))
    return Recorded(planned, record, curve or [])


def flagged(*runs: Recorded) -> list[tuple[str, ...]]:
    found = flags(runs)
    assert len(found) == len(runs)
    return [found[one.planned.run_id] for one in runs]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (WSD(kind="wsd", warmup=20, decay=5), ()),
        (WSD(kind="wsd", warmup=20, decay=4), ("undercooled",)),
        (Constant(kind="constant", warmup=20), ("undercooled",)),
        (Cosine(kind="cosine", warmup=20, final_fraction=0.1), ()),
        (Cosine(kind="cosine", warmup=20, final_fraction=0.3), ("undercooled",)),
        (WSD(kind="wsd", warmup=26, decay=20), ("long_warmup",)),
    ],
)
def test_a_schedule_that_ends_hot_or_warms_up_for_long(schedule: Any, expected: tuple[str, ...]) -> None:
    assert flagged(recorded(schedule=schedule)) == [expected]


def falling(exponent: float, rows: int = 20, noise: float = 0.0) -> list[dict[str, Any]]:
    """A curve that falls so over the last tenth of its tokens, where it has so many rows."""
    tokens = [900 + 100 * (i + 1) // rows for i in range(rows)]
    return [
        {"step": t, "tokens": t, "train/loss": 3 * (t / 1000) ** -exponent * math.exp(noise * (-1) ** i)}
        for i, t in enumerate(tokens)
    ]


def test_a_curve_that_still_falls() -> None:
    assert still_falling(falling(1.5)) and not still_falling(falling(0.8))
    assert not still_falling(falling(1.5, rows=4)) and not still_falling([])
    assert not still_falling(falling(1.5, noise=0.1))
    assert not still_falling([{"step": 1, "tokens": 1, "train/loss": None}])
    assert flagged(recorded(curve=falling(1.5)), recorded(None, width=16, curve=falling(1.5))) == [
        ("still_falling",), (),
    ]  # fmt: skip


def test_a_run_that_another_device_began() -> None:
    assert flagged(recorded(devices=("NVIDIA A100",))) == [("other_device",)]


@pytest.mark.parametrize(
    ("losses", "best"), [((2.0, 2.1, 2.2), 0), ((2.2, 2.1, 2.0), 2), ((2.1, 2.0, 2.2), None)]
)
@pytest.mark.parametrize(
    ("flag", "tried"),
    [
        ("rate_edge", [{"rate": r} for r in (0.01, 0.02, 0.04)]),
        ("batch_edge", [{"batch_sequences": 4 * k, "steps": 120 // k} for k in (1, 2, 3)]),
        ("size_edge", [{"width": w, "budget": 1e9, "steps": 1000 // w} for w in (8, 16, 24)]),
    ],
)
def test_an_optimum_at_the_end_of_what_was_tried(
    flag: str, tried: list[dict[str, Any]], losses: tuple[float, ...], best: int | None
) -> None:
    found = flagged(*(recorded(loss, **one) for loss, one in zip(losses, tried, strict=True)))
    assert [flag in one for one in found] == [i == best for i in range(3)]
    assert flagged(*(recorded(loss, **one) for loss, one in zip(losses[:2], tried, strict=False))) == [(), ()]


def test_a_held_out_run_changes_no_flag_of_those_that_are_fitted() -> None:
    near = {f"d{i}": 0.5 * (-1) ** i for i in range(20)}
    pair = recorded(2.0), recorded(1.98, steps=200, scatter=near, role="holdout")
    assert flagged(*pair) == [(), ()]


def test_each_size_token_count_and_seed_has_an_optimum_of_its_own() -> None:
    rates = (0.01, 0.02, 0.04)
    cells: tuple[dict[str, Any], ...] = ({"width": 8}, {"width": 16}, {"steps": 200}, {"seed": 1})
    runs = [
        recorded(2 - 0.1 * c + 0.05 * i, rate=r, **cell)
        for c, cell in enumerate(cells)
        for i, r in enumerate(rates)
    ]
    assert [i for i, one in enumerate(flagged(*runs)) if "rate_edge" in one] == [0, 3, 6, 9]


def test_a_difference_within_the_error_of_the_evaluation() -> None:
    far, near = ({f"d{i}": size * (-1) ** i for i in range(20)} for size in (0.01, 0.5))
    clear = flagged(recorded(2.0), recorded(1.98, steps=200, scatter=far))
    assert clear == [(), ()]
    blurred = flagged(recorded(2.0), recorded(1.98, steps=200, scatter=near), recorded(1.0, steps=1000))
    assert blurred == [("eval_noise",), ("eval_noise",), ()]
    # of one token count the sizes are compared
    sizes = flagged(recorded(2.0), recorded(1.98, width=16, scatter=near), recorded(1.0, width=128))
    assert sizes == [("eval_noise",), ("eval_noise",), ()]


def test_repeats_for_the_noise_are_not_compared() -> None:
    runs = [recorded(2.0 - i, rate=0.01 * 2**i, role="noise" if i else "fit") for i in range(3)]
    assert flagged(*runs) == [(), (), ()]
