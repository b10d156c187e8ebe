"""Counts by hand. Against the compiler and the real pytree they are checked where jax is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scaling.counts.flops import forward_matmul_flops, training_flops
from scaling.counts.params import count_parameters
from scaling.counts.shape import Shape, parameter_table

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
    ],
)
def test_impossible_shapes(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SHAPE, **change)  # type: ignore[arg-type]
