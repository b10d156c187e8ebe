"""Counts by hand. Against the compiler and the real pytree they are checked where jax is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaling.counts.flops import forward_matmul_flops, training_flops
from scaling.counts.params import active_parameters, count_parameters
from scaling.counts.shape import Experts, Shape, parameter_table

SHAPE = Shape(depth=3, width=12, heads=3, kv_heads=1, head_dim=4, mlp_width=32, vocab_size=50, context=10)


def test_parameters_by_hand() -> None:
    attention = 12 * 12 * 2 + 12 * 4 * 2  # query and output; one key and one value head
    layer = attention + 3 * 12 * 32 + 2 * 12
    counts = count_parameters(SHAPE)
    assert counts.body == 3 * layer + 12
    assert (counts.embedding, counts.head) == (600, 600)
    assert counts.total == counts.body + 1200
    gains = [parameter.size for parameter in parameter_table(SHAPE).values() if parameter.role == "gain"]
    assert sum(gains) == 3 * 24 + 12


def test_tied_and_gelu() -> None:
    tied = count_parameters(replace(SHAPE, tied=True))
    assert (tied.head, tied.total) == (0, count_parameters(SHAPE).total - 600)
    gelu = replace(SHAPE, mlp="gelu")
    assert count_parameters(gelu).total == count_parameters(SHAPE).total - 3 * 12 * 32
    assert forward_matmul_flops(replace(SHAPE, tied=True)) == forward_matmul_flops(SHAPE), (
        "the head still multiplies"
    )


def test_flops_by_hand() -> None:
    matrices = 2 * 10 * (12 * 12 * 2 + 12 * 4 * 2 + 3 * 12 * 32)
    scores_and_values = 2 * 2 * 55 * 3 * 4  # 10 * 11 / 2 pairs
    head = 2 * 10 * 12 * 50
    assert forward_matmul_flops(SHAPE) == 3 * (matrices + scores_and_values) + head
    flops = training_flops(SHAPE, sequences=7)
    assert flops.flops == 3 * 7 * forward_matmul_flops(SHAPE)
    assert flops.full_attention - flops.flops == 3 * 7 * 3 * 2 * 2 * 45 * 12
    counts = count_parameters(SHAPE)
    assert (flops.six_n_total, flops.six_n_body) == (6 * counts.total * 70, 6 * counts.body * 70)


def test_options_by_hand() -> None:
    total, flops = count_parameters(SHAPE).total, forward_matmul_flops(SHAPE)
    changes = {
        "qk_norm": (replace(SHAPE, qk_norm=True), 3 * 2 * 4, 0),
        "relu2": (replace(SHAPE, mlp="relu2"), -3 * 12 * 32, -3 * 2 * 10 * 12 * 32),
        "learned": (replace(SHAPE, positions="learned"), 10 * 12, 0),
        "parallel": (replace(SHAPE, parallel=True), -3 * 12, 0),
        # of 55 pairs a window of 3 leaves 1 + 2 + 8 x 3
        "window": (replace(SHAPE, window=3), 0, -3 * 4 * (55 - 27) * 12),
        "some windows": (replace(SHAPE, window=3, full_every=3), 0, -2 * 4 * (55 - 27) * 12),
    }
    for name, (shape, parameters, more) in changes.items():
        assert count_parameters(shape).total == total + parameters, name
        assert forward_matmul_flops(shape) == flops + more, name
    assert count_parameters(replace(SHAPE, positions="learned")).embedding == 600 + 120


def test_experts_by_hand() -> None:
    shape = replace(SHAPE, experts=Experts(count=8, active=2, shared=1, granularity=4))
    counts, dense = count_parameters(shape), count_parameters(SHAPE)
    expert = 3 * 12 * 8
    assert counts.total == dense.total + 3 * (9 * expert + 12 * 8 - 4 * expert)
    assert active_parameters(shape).total == counts.total - 3 * 6 * expert
    assert active_parameters(shape).body == counts.body - 3 * 6 * expert
    assert active_parameters(SHAPE) == dense
    used = 3 * 2 * 10 * (12 * 8 - expert)  # the router for one of four parts of the MLP
    assert forward_matmul_flops(shape) == forward_matmul_flops(SHAPE) + used
    assert training_flops(shape, 7).six_n_total == 6 * active_parameters(shape).total * 70
    none_shared = parameter_table(replace(shape, experts=Experts(count=2, active=2)))
    assert "blocks/up/kernel" not in none_shared


def test_axes_say_what_a_matrix_is() -> None:
    table = parameter_table(replace(SHAPE, experts=Experts(count=8, active=2, granularity=4)))
    facts = {name: (p.stacked, p.fan_in, p.fan_out) for name, p in table.items()}
    assert facts["blocks/query/kernel"] == (1, 12, 12)
    assert facts["blocks/key/kernel"] == (1, 12, 4)
    assert facts["blocks/output/kernel"] == (1, 12, 12)
    assert facts["blocks/experts_down/kernel"] == (2, 8, 12)
    assert facts["blocks/router/kernel"] == (1, 12, 8)
    assert facts["embedding/table"] == (0, 1, 600)
    assert facts["blocks/mlp_norm/gain"] == (1, 1, 12)


def test_roles_come_from_the_table_not_from_dimensions() -> None:
    table = parameter_table(SHAPE)
    assert len(table["blocks/mlp_norm/gain"].dims) == 2
    assert table["blocks/mlp_norm/gain"].role == "gain"
    assert {name for name, p in table.items() if p.residual} == {"blocks/output/kernel", "blocks/down/kernel"}
    assert all(len(p.axes) == len(p.dims) for p in table.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "width = 0"),
        ({"depth": True}, "depth = True"),
        ({"heads": 2.0}, "heads = 2.0"),
        ({"head_dim": 3}, "must be even"),
        ({"kv_heads": 2}, "must divide heads = 3"),
        ({"window": 10}, "must be below context = 10"),
        ({"full_every": 2}, "needs a window"),
        ({"experts": Experts(count=2, active=1, granularity=5)}, "must divide mlp_width = 32"),
    ],
)
def test_impossible_shapes(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SHAPE, **change)  # type: ignore[arg-type]


def test_impossible_experts() -> None:
    with pytest.raises(ValueError, match="at most count = 2"):
        Experts(count=2, active=3)
    with pytest.raises(ValueError, match="shared = -1"):
        Experts(count=2, active=1, shared=-1)
