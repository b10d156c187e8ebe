"""Precision and auxiliary losses on their way from a spec to runs, and what devices cannot do."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from scaling.errors import UserError
from scaling.plan.device import device_notes, require_precision
from scaling.recipe.auxiliary import Auxiliary
from scaling.recipe.precision import unmet
from scaling.spec.load import study_from_dict
from scaling.train import environment
from tests.plan.studies import changed, plan_of


def ids(**changes: object) -> set[str]:
    return {run.run_id for run in plan_of(**changes).runs}


def test_ids_say_precision_and_auxiliary_losses() -> None:
    plain = ids()
    assert plain == ids(recipe__precision="float32") == ids(recipe__auxiliary={"z_loss": 0})
    others = [
        ids(recipe__precision="tf32"),
        ids(recipe__precision="bfloat16"),
        ids(recipe__auxiliary={"z_loss": 1e-4}),
        ids(recipe__auxiliary={"z_loss": 1e-3}),
    ]
    assert len(plain.union(*others)) == 5 * len(plain)


def test_runs_hold_what_the_spec_asks_for() -> None:
    plan = plan_of(recipe__precision="bfloat16", recipe__auxiliary={"z_loss": 1e-4})
    assert {run.run.precision for run in plan.runs} == {"bfloat16"}
    assert all(run.run.auxiliary == Auxiliary(z_loss=1e-4) for run in plan.runs)


def test_what_no_size_or_device_can_do_is_said_of_the_spec() -> None:
    wrong = {
        "recipe__precision": "tf32",
        "recipe__auxiliary": {"load_balance": 0.1, "router_z_loss": 0.001},
        "execution": {"device": "tpu"},
    }
    assert places(**wrong) == [
        "recipe.auxiliary.load_balance",
        "recipe.auxiliary.router_z_loss",
        "recipe.precision",
    ]
    assert places(**wrong | {"execution": {"device": "gpu"}})[2:] == []


def places(**changes: object) -> list[str]:
    with pytest.raises(UserError) as caught:
        study_from_dict(changed(**changes))
    return [str(problem).split(":")[0] for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("precision", "device", "capability", "possible"),
    [
        ("float32", "cpu", None, True),
        ("bfloat16", "cpu", None, True),
        ("bfloat16", "tpu", None, True),
        ("tf32", "gpu", 8.0, True),
        ("tf32", "gpu", None, True),
        ("float32", "gpu", 7.0, True),
        ("tf32", "gpu", 7.5, False),
        ("bfloat16", "gpu", 7.5, False),
        ("tf32", "cpu", None, False),
        ("tf32", "tpu", None, False),
    ],
)
def test_which_device_can_do_what(precision, device, capability, possible: bool) -> None:
    assert (unmet(precision, device, capability) is None) is possible


def test_a_plan_is_refused_where_its_device_cannot() -> None:
    runs = {run.label: run.built_in for run in plan_of(recipe__precision="tf32").runs}
    require_precision(runs, "gpu")
    with pytest.raises(UserError) as caught:
        require_precision(runs, "cpu")
    assert len(caught.value.problems) == 1 and next(iter(runs)) in str(caught.value)


def test_a_plan_says_that_bfloat16_is_slow_on_a_cpu() -> None:
    rounded = plan_of(recipe__precision="bfloat16")
    assert [*device_notes(rounded, "gpu")] == [*device_notes(plan_of(), "cpu")] == []
    assert "4 of 4 runs" in " ".join(device_notes(rounded, "cpu"))


def test_a_plan_says_that_packs_are_slow_on_a_cpu() -> None:
    packed = plan_of(execution={"pack": 4})
    assert not [*device_notes(packed, "gpu")]
    (note,) = device_notes(packed, "cpu")
    assert "execution.pack = 4" in note and "slower" in note


@pytest.mark.parametrize(
    ("platform", "capability", "possible"),
    [("cpu", None, False), ("gpu", "7.5", False), ("gpu", "9.0", True), ("gpu", "gfx942", True)],
)
def test_a_job_is_refused_by_its_device(
    platform: str, capability: str | None, possible: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = SimpleNamespace(platform=platform, device_kind="a device")
    if capability is not None:
        device.compute_capability = capability
    monkeypatch.setattr(environment.jax, "local_devices", lambda: [device])
    environment.require_precision("float32")
    if possible:
        environment.require_precision("tf32")
    else:
        with pytest.raises(UserError, match="a device"):
            environment.require_precision("tf32")
