"""Programs on meshes of eight devices: their numbers beside one device's, what each device holds, and what
goes between devices."""

from __future__ import annotations

from typing import Any

import pytest

from scaling.counts.lowering import MeshSizes
from scaling.counts.shape import parameter_table
from scaling.errors import UserError
from scaling.train.sharding import make_mesh
from tests.train.eight_devices import BATCH, CONTEXT, DENSE, STEPS, results_of
from tests.train.test_feed import WAYS

Mesh = tuple[int, int, int]  # data x fsdp x tensor

# A step on each mesh, with layers that are scanned and computed again. Gathers: seven matrices of a layer,
# forward and backward, the embedding and the head. Sums: over `tensor` of what attention, MLP and look-up
# give, of the gradients of what each of five products reads, and of the head's; of the softmax's maximum,
# normaliser and target; over `data` and `fsdp` of gradients, their norm and the loss.
COLLECTIVES: dict[Mesh, dict[str, int]] = {
    (8, 1, 1): {"all-reduce": 2},
    (2, 4, 1): {"all-gather": 16, "all-reduce": 7},
    (2, 2, 2): {"all-gather": 16, "all-reduce": 18},
    (1, 4, 2): {"all-gather": 16, "all-reduce": 15},
    (1, 1, 8): {"all-reduce": 11},
}


def training(mesh: Mesh, kind: str, **options: Any) -> tuple[str, dict[str, Any]]:
    return "train", {"mesh": mesh, "kind": kind, **options}


FIRST: list[Mesh] = [(2, 2, 2)]
MESHES = [mesh if mesh in FIRST else pytest.param(mesh, marks=pytest.mark.slow) for mesh in COLLECTIVES]


def together(calls: dict[str, tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Return results by name, of one process: an interpreter and a program of one device serve all."""
    return dict(zip(calls, results_of(*calls.values()), strict=True))


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    return together(
        {
            **{str(mesh): training(mesh, "float64", remat="block") for mesh in FIRST},
            "evaluation": ("evaluate", {"mesh": (2, 2, 2)}),
            **{way: ("text_of_each_step", {"way": way}) for way in WAYS},
        }
    )


@pytest.fixture(scope="module")
def more() -> dict[str, Any]:
    return together(
        {
            **{str(mesh): training(mesh, "float64", remat="block") for mesh in {*COLLECTIVES} - {*FIRST}},
            **{f"float32 {mesh}": training(mesh, "float32") for mesh in COLLECTIVES},
            **{f"other {mesh}": training(mesh, "float64", shape="other") for mesh in COLLECTIVES},
            **{f"experts {mesh}": training(mesh, "float32", shape="experts") for mesh in COLLECTIVES},
            **{name: training((2, 2, 2), "float32", optimizer=name) for name in ("muon", "adafactor")},
            "pieces": training((2, 2, 2), "float64", remat="full", micro_batches=2, logit_chunks=8),
            "replicas": training((4, 1, 1), "float64", remat="block", micro_batches=2),
            "rule": training((1, 1, 8), "float64", remat="block", without=("activation", "heads")),
        }
    )


@pytest.mark.parametrize("mesh", MESHES)
def test_a_mesh_trains_as_one_device_does(mesh, request):
    result = request.getfixturevalue("results" if mesh in FIRST else "more")[str(mesh)]
    assert result["apart"] < 1e-10
    assert result["collectives"] == COLLECTIVES[mesh]
    assert result["argument_bytes"] == pytest.approx(state_bytes(mesh) + window_bytes(mesh), abs=300)


def state_bytes(mesh: Mesh) -> float:
    """Float64 parameters and two moments: gains whole, all else in parts over fsdp and tensor."""
    _, fsdp, tensor = mesh
    table = parameter_table(DENSE).values()
    gains = sum(parameter.size for parameter in table if parameter.role == "gain")
    cut = sum(parameter.size for parameter in table) - gains
    return 8 * 3 * (gains + cut / (fsdp * tensor))


def window_bytes(mesh: Mesh) -> float:
    data, fsdp, _ = mesh
    return 4 * STEPS * BATCH / (data * fsdp) * (CONTEXT + 1)


def test_evaluation_is_split_over_devices(results):
    result = results["evaluation"]
    assert result["windows"] == BATCH // 4 and result["apart"] < 1e-6


def test_a_mesh_larger_than_the_devices_is_refused():
    with pytest.raises(UserError, match=r"data 3 x fsdp 1 x tensor 1 = 3 devices, and there are 1"):
        make_mesh(MeshSizes(data=3), BATCH)


@pytest.mark.slow
@pytest.mark.parametrize("mesh", COLLECTIVES)
def test_float32_and_other_models_train_as_on_one_device(mesh, more):
    assert more[f"float32 {mesh}"]["apart"] < 1e-6
    assert more[f"other {mesh}"]["apart"] < 1e-10
    assert more[f"experts {mesh}"]["apart"] < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["muon", "adafactor"])
def test_other_optimizers_train_as_on_one_device(optimizer, more):
    assert more[optimizer]["apart"] < 1e-5


@pytest.mark.slow
def test_pieces_of_a_batch_train_as_the_whole(more):
    assert more["pieces"]["apart"] < 1e-10 and more["replicas"]["apart"] < 1e-10


@pytest.mark.slow
def test_replicas_sum_gradients_once_a_step(more):
    assert more["replicas"]["collectives"] == {"all-reduce": 1}
    assert more["replicas"]["loops"] == 1 and more["pieces"]["loops"] == 3, "over steps, parts, layers"


@pytest.mark.slow
def test_more_goes_between_devices_where_a_rule_is_left_out(more):
    assert more["rule"]["apart"] < 1e-10  # no number depends on the rules
    assert more["rule"]["collectives"] != COLLECTIVES[1, 1, 8]
