"""Parametrizations against the published tables, written out here as powers of m_N and m_L."""

import numpy as np
import pytest

from scaling.counts.shape import Experts, Shape, parameter_table
from scaling.model.parametrization import Forward, initial_std, multipliers
from scaling.model.roles import init_params
from scaling.recipe.optimizers import AdamW
from scaling.recipe.parametrization import CompleteP, MuP

BASE = Shape(depth=2, width=16, heads=2, kv_heads=2, head_dim=8, mlp_width=32, vocab_size=32, context=8)
SIZE = Shape(depth=6, width=64, heads=8, kv_heads=8, head_dim=8, mlp_width=128, vocab_size=32, context=8)
M_N, M_L = 4, 3
MUP = MuP(kind="mup", base_width=16)
COMPLETEP = CompleteP(kind="completep", base_width=16, base_depth=2)
ADAMW = AdamW(kind="adamw", learning_rate=0.01)

# Dey et al., arXiv:2505.01618, table 1, at alpha = 1: row -> exponents of m_N and m_L, in the columns of muP
# and of alpha. Its unembedding may have any initial variance that is the same at all sizes; ours is 0.
TABLE_1 = {
    "Embed Init. Var.": ((0, 0), (0, 0)),
    "Hidden Init. Var.": ((-1, 0), (-1, 0)),
    "MHA Residual": ((0, 0), (0, -1)),
    "MLP Residual": ((0, 0), (0, -1)),
    "Unembed Fwd.": ((-1, 0), (-1, 0)),
}


def with_options(shape: Shape, **options) -> Shape:
    return Shape(**vars(shape) | options)


def std_ratio(name: str, parametrization, size: Shape = SIZE, **options) -> float:
    size, base = with_options(size, **options), with_options(BASE, **options)
    one, other = parameter_table(size)[name], parameter_table(base)[name]
    return initial_std(one, size, parametrization) / initial_std(other, base, parametrization)


@pytest.mark.parametrize("column, parametrization", [(0, MUP), (1, COMPLETEP)])
@pytest.mark.parametrize("row", TABLE_1)
def test_table_1_of_completep_in_the_model(row, column, parametrization):
    # muP leaves depth to the standard parametrization
    size = SIZE if parametrization is COMPLETEP else with_options(SIZE, depth=BASE.depth)
    forward, forward_at_base = Forward.of(size, parametrization), Forward.of(BASE, parametrization)
    embeddings = [
        std_ratio("embedding/table", parametrization, size),
        std_ratio("embedding/table", parametrization, size, tied=True),
    ]
    hidden = [
        std_ratio(name, parametrization, size)
        for name, parameter in parameter_table(size).items()
        if parameter.role == "matrix"
    ]
    ours = {
        "Embed Init. Var.": np.square(embeddings),
        "Hidden Init. Var.": np.square(hidden),
        "MHA Residual": forward.branch / forward_at_base.branch,
        "MLP Residual": forward.branch / forward_at_base.branch,
        "Unembed Fwd.": forward.logits / forward_at_base.logits,
    }
    width, depth = TABLE_1[row][column]
    np.testing.assert_allclose(ours[row], float(M_N) ** width * float(M_L) ** depth, rtol=1e-12)


def test_weights_are_drawn_with_these_deviations():
    weights = init_params(SIZE, 0, COMPLETEP)
    assert np.std(weights["blocks/down/kernel"]) == pytest.approx((2 * 2 * 128) ** -0.5, rel=0.03)
    tied = init_params(with_options(SIZE, tied=True), 0, MUP)
    assert np.std(tied["embedding/table"]) == pytest.approx(16**-0.5, rel=0.05)
    assert not init_params(SIZE, 0, MUP)["head/kernel"].any()


def test_attention_scores_go_with_one_over_the_channels_of_a_head():
    """Yang et al., arXiv:2203.03466, definition 4.1: q k / d, not q k / sqrt(d)."""
    wide = with_options(SIZE, heads=2, kv_heads=2, head_dim=32)
    ours = MuP(kind="mup", base_width=16, base_head_dim=8)
    assert Forward.of(wide, ours).scores / Forward.of(BASE, ours).scores == 8 / 32
    assert Forward.of(wide, None).scores / Forward.of(BASE, None).scores == pytest.approx((8 / 32) ** 0.5)


def test_scaled_embeddings_stay_as_large():
    options = {"scaled_embedding": True}
    size, base = with_options(SIZE, **options), with_options(BASE, **options)
    grown = Forward.of(size, MUP).embedding / Forward.of(base, MUP).embedding
    assert grown * std_ratio("embedding/table", MUP, **options) == 1.0


def test_routers_are_outputs():
    """Yang et al., table 3: variance 1 / fan_in^2 where a hidden matrix has 1 / fan_in."""
    experts = {"experts": Experts(count=4, active=2)}
    assert std_ratio("blocks/router/kernel", MUP, **experts) ** 2 == pytest.approx(M_N**-2)
    assert std_ratio("blocks/experts_up/kernel", MUP, **experts) ** 2 == pytest.approx(1 / M_N)


@pytest.mark.parametrize("parametrization", [MUP, COMPLETEP])
def test_at_the_base_all_are_the_standard_one(parametrization):
    assert Forward.of(BASE, parametrization) == Forward.of(BASE, None)
    assert {(m.gradient, m.rate) for m in multipliers(BASE, parametrization, ADAMW).values()} == {(1.0, 1.0)}
    standard, ours = init_params(BASE, 3), init_params(BASE, 3, parametrization)
    assert all(np.array_equal(standard[name], ours[name]) for name in standard)


def test_muP_leaves_depth_as_it_is():
    deeper = with_options(BASE, depth=6)
    assert Forward.of(deeper, MUP) == Forward.of(deeper, None)
    assert {(m.gradient, m.rate) for m in multipliers(deeper, MUP, ADAMW).values()} == {(1.0, 1.0)}
