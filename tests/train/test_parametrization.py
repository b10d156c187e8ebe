"""What steps of optimizers do under a parametrization, against the published tables."""

import jax
import numpy as np
import pytest

from scaling.counts.shape import Experts, Shape, parameter_table
from scaling.model.parametrization import multipliers
from scaling.model.roles import init_params
from scaling.recipe.optimizers import SGD, AdamW, Muon
from scaling.recipe.parametrization import CompleteP, MuP
from scaling.train.optimizers import initial_moments, make_optimizer, numbers_of

M_N, M_L = 4, 3
SIZE = Shape(
    depth=3,
    width=64,
    heads=8,
    kv_heads=8,
    head_dim=8,
    mlp_width=64,
    vocab_size=8,
    context=4,
    qk_norm=True,
    positions="learned",
    experts=Experts(count=4, active=2, shared=1, granularity=2),
)
MUP = MuP(kind="mup", base_width=16)
COMPLETEP = CompleteP(kind="completep", base_width=16, base_depth=1)
RATE, EPS, DECAY = 0.01, 1e-3, 0.2
NORMS = ("attention_norm", "mlp_norm")
HIDDEN = ("query", "key", "value", "output", "up", "gate", "down")
OF_EXPERTS = ("experts_up", "experts_gate", "experts_down")
# Kinds of parameters, by the tables' names.
GROUPS = {
    "Embed": ["embedding/table", "positions/table"],
    "Pre-LN": [f"blocks/{name}/gain" for name in NORMS],
    "Hidden": [f"blocks/{name}/kernel" for name in (*HIDDEN, *OF_EXPERTS)],
    "Final-LN": ["final_norm/gain"],
    "Unembed": ["head/kernel"],
    "QK-norm": ["blocks/query_norm/gain", "blocks/key_norm/gain"],
    "Router": ["blocks/router/kernel"],
}

# Exponents of m_N and m_L: learning rate and epsilon of AdamW.
# Dey et al., arXiv:2505.01618, table 1, column alpha at alpha = 1; that of muP has no m_L.
RATES = {"Embed": (0, 0), "Pre-LN": (0, 0), "Hidden": (-1, 0), "Final-LN": (0, 0), "Unembed": (0, 0)}
HIDDEN_DECAY = (1, 0)
EPSILONS = {"Pre-LN": (-1, -1), "Hidden": (-1, -1)}  # "AdamW eps (residual blocks)"
# Outside of the blocks that table has no epsilon. It must go as gradients do, whose size Yang et al.,
# arXiv:2203.03466, table 8, give by rates of SGD over those of Adam: input weights and biases fan_out over 1,
# output weights fan_in over 1 (and hidden weights 1 over 1 / fan_in).
EPSILONS |= {"Embed": (-1, 0), "Final-LN": (-1, 0), "Unembed": (-1, 0)}
# Mlodozeniec et al., arXiv:2512.22382: epsilon of gains that all heads share does not depend on width.
RATES["QK-norm"], EPSILONS["QK-norm"] = (0, 0), (0, -1)
# Yang et al., table 3, output weights without multiplier: 1 / fan_in for both Adam and SGD.
RATES["Router"], EPSILONS["Router"] = (-1, 0), (0, -1)


def value(exponents: tuple[float, float], parametrization) -> float:
    width, depth = exponents
    return float(M_N) ** width * (float(M_L) ** depth if parametrization is COMPLETEP else 1.0)


def stepping(optimizer, parametrization, shape=SIZE):
    """Return a function of gradients that gives the updates of a first step."""
    params = init_params(shape, 0, parametrization)
    state = initial_moments(shape, optimizer.structure, params)

    @jax.jit
    def updates(grads):
        ours = make_optimizer(shape, optimizer.structure, numbers_of(optimizer), RATE, parametrization)
        return ours.update(grads, state, params)[0]

    return params, updates


def filled(params, number: float) -> dict[str, np.ndarray]:
    return {name: np.full(array.shape, number, np.float32) for name, array in params.items()}


def test_every_parameter_is_in_a_group():
    assert sorted(name for group in GROUPS.values() for name in group) == sorted(parameter_table(SIZE))
    assert GROUPS.keys() == RATES.keys() == EPSILONS.keys()


@pytest.fixture(scope="module", params=[MUP, COMPLETEP], ids=["mup", "completep"])
def adamw(request):
    """Steps of AdamW: gradients of 10,000; and of 0.001, as large as epsilon; 0, where decay is alone."""
    adamw = AdamW(kind="adamw", learning_rate=RATE, eps=EPS, weight_decay=DECAY, clip_norm=1e30)
    params, updates = stepping(adamw, request.param)
    return request.param, params, *(updates(filled(params, number)) for number in (1e4, EPS, 0.0))


@pytest.mark.parametrize("group", GROUPS)
def test_rates_and_epsilons_of_adamw(adamw, group):
    parametrization, _, large, small, decay = adamw
    for name in GROUPS[group]:
        rate = np.mean(decay[name] - large[name])  # without the part of decay
        np.testing.assert_allclose(rate / RATE, value(RATES[group], parametrization), rtol=1e-5, err_msg=name)
        share = np.mean(decay[name] - small[name]) / rate  # |g| / (|g| + eps)
        epsilon = (1 / share - 1) * EPS
        expected = value(EPSILONS[group], parametrization)
        np.testing.assert_allclose(epsilon / EPS, expected, rtol=1e-4, err_msg=name)


def test_decay_of_hidden_matrices(adamw):
    parametrization, params, *_, decay = adamw
    expected = RATE * value(RATES["Hidden"], parametrization) * DECAY * value(HIDDEN_DECAY, parametrization)
    for name in (*GROUPS["Hidden"], *GROUPS["Router"]):
        np.testing.assert_allclose(decay[name], -expected * params[name], rtol=1e-5, err_msg=name)


# Yang et al., table 8, row SGD LR. Gradients of blocks have the m_L^-1 of their branch (rows MHA and MLP
# Residual of table 1), so that their rates grow as m_L.
SGD_RATES = {"Embed": (1, 0), "Pre-LN": (1, 1), "Hidden": (0, 1), "Final-LN": (1, 0), "Unembed": (1, 0)}
SGD_RATES |= {"Router": (-1, 1)}  # table 3


@pytest.mark.parametrize("parametrization", [MUP, COMPLETEP], ids=["mup", "completep"])
def test_rates_of_sgd(parametrization):
    params, updates = stepping(SGD(kind="sgd", learning_rate=RATE, clip_norm=1e30), parametrization)
    steps = updates(filled(params, 1.0))
    for group, exponents in SGD_RATES.items():
        for name in GROUPS[group]:
            rate = value(exponents, parametrization)
            np.testing.assert_allclose(-steps[name] / RATE, rate, rtol=1e-5, err_msg=name)


@pytest.mark.parametrize("scale, size", [("rms", lambda d: 0.2 * d**0.5), ("spectral", lambda d: 1.0)])
def test_steps_of_muon_have_one_spectral_norm_at_all_widths(scale, size):
    """Yang et al., arXiv:2310.17813, condition 1: sqrt(outputs / inputs), of a square matrix 1. Before the
    rate all singular values of Muon's are ``size(width)``."""
    muon = Muon(kind="muon", learning_rate=RATE, scale=scale)
    rate = multipliers(SIZE, COMPLETEP, muon)["blocks/query/kernel"].rate
    assert rate * size(SIZE.width) == pytest.approx(size(COMPLETEP.base_width))
    assert multipliers(SIZE, COMPLETEP, muon)["head/kernel"].rate == 1.0, "trained by Adam"
    assert multipliers(SIZE, COMPLETEP, muon)["blocks/router/kernel"].rate == 1 / M_N, "trained by Adam"
