"""Optimizers as programs have them: steps of optax used directly, roles, moments, states without arrays."""

import time
import tracemalloc

import jax
import numpy as np
import optax
import pytest

from scaling.counts.params import count_parameters
from scaling.counts.shape import Shape, parameter_table
from scaling.model.roles import abstract_params, init_params
from scaling.recipe.optimizers import OPTIMIZERS, SGD, AdamW, Lion, RoleRates
from scaling.train.loop import Blueprint, abstract_state
from scaling.train.optimizers import DIRECTIONS, make_optimizer, numbers_of
from tests.train.runs import TINY, make_run

RATE = 0.01
MATRICES = {f"blocks/{name}/kernel" for name in ("query", "key", "value", "output", "up", "gate", "down")}
MASK = {name: name in MATRICES for name in abstract_params(TINY)}
# Ours, and what somebody would write with optax alone; numbers differ from all defaults.
CASES = {
    "adamw": (
        AdamW(kind="adamw", learning_rate=RATE, weight_decay=0.3, b1=0.8, b2=0.9, eps=1e-6),
        optax.adamw(RATE, b1=0.8, b2=0.9, eps=1e-6, weight_decay=0.3, mask=MASK),
    ),
    "lion": (
        Lion(kind="lion", learning_rate=RATE, weight_decay=0.3, b1=0.8, b2=0.9),
        optax.lion(RATE, b1=0.8, b2=0.9, weight_decay=0.3, mask=MASK),
    ),
    "sgd": (
        SGD(kind="sgd", learning_rate=RATE, momentum=0.7),
        optax.sgd(RATE, momentum=0.7),
    ),
    "sgd-nesterov": (
        SGD(kind="sgd", learning_rate=RATE, momentum=0.7, nesterov=True, clip_norm=0.5),
        optax.chain(optax.scale(0.5), optax.sgd(RATE, momentum=0.7, nesterov=True)),
    ),
}


def step_of(optimizer):
    """Our transformation with its numbers as arguments of a compiled function, as programs have them."""

    @jax.jit
    def step(numbers, rate, grads, moments, params):
        ours = make_optimizer(TINY, optimizer.structure, numbers, rate)
        updates, moments = ours.update(grads, moments, params)
        return optax.apply_updates(params, updates), moments

    return lambda *args: step(numbers_of(optimizer), np.float32(optimizer.learning_rate), *args)


def moments_of(optimizer, params):
    return make_optimizer(TINY, optimizer.structure, optimizer.numbers, RATE).init(params)


@pytest.mark.parametrize("case", CASES)
def test_steps_are_those_of_optax_used_directly(case):
    optimizer, direct = CASES[case]
    chance = np.random.default_rng(0)
    params = other = init_params(TINY, 0)
    moments, theirs = moments_of(optimizer, params), direct.init(other)
    step = step_of(optimizer)
    for _ in range(4):
        grads = {name: chance.normal(size=array.shape).astype(np.float32) for name, array in params.items()}
        norm = np.sqrt(sum(np.square(g).sum() for g in grads.values()))
        grads = {name: g / norm for name, g in grads.items()}  # of norm 1: clipped by no more than is said
        params, moments = step(grads, moments, params)
        updates, theirs = direct.update(grads, theirs, other)
        other = optax.apply_updates(other, updates)
    for name in params:
        np.testing.assert_allclose(params[name], other[name], rtol=2e-6, atol=2e-8, err_msg=name)


RATES = {"embedding": 0.02, "head": 0.005, "gain": 0.1, "matrix": 0.003}


@pytest.mark.parametrize("roles", [tuple(RATES), ("matrix",), ("embedding", "gain")])
def test_each_role_is_stepped_at_its_rate(roles):
    """As several optimizers of optax, each with the rate of its role; weight decay at the matrices' rate."""
    rates = {role: RATES[role] for role in roles}
    optimizer = AdamW(kind="adamw", learning_rate=RATE, weight_decay=0.3, learning_rates=RoleRates(**rates))
    role_of = {name: parameter.role for name, parameter in parameter_table(TINY).items()}
    direct = optax.multi_transform(
        {
            role: optax.adamw(rates.get(role, RATE), b2=0.95, weight_decay=0.3 if role == "matrix" else 0)
            for role in RATES
        },
        role_of,
    )
    chance = np.random.default_rng(0)
    params = other = init_params(TINY, 0)
    moments, theirs = moments_of(optimizer, params), direct.init(other)
    step = step_of(optimizer)
    for _ in range(3):
        grads = {name: (1e-3 * chance.normal(size=a.shape)).astype(np.float32) for name, a in params.items()}
        params, moments = step(grads, moments, params)
        updates, theirs = direct.update(grads, theirs, other)
        other = optax.apply_updates(other, updates)
    for name in params:
        np.testing.assert_allclose(params[name], other[name], rtol=2e-6, atol=2e-8, err_msg=name)


def test_without_rates_by_role_the_program_is_the_old_one():
    """Not one instruction more; with them, other numbers of the same roles share a program."""

    def lowered(make):
        def step(numbers, rate, grads, moments, params):
            updates, moments = make(numbers, rate).update(grads, moments, params)
            return optax.apply_updates(params, updates), moments

        start = init_params(TINY, 0)
        numbers, rate = numbers_of(plain), np.float32(RATE)
        moments = make(numbers, rate).init(start)
        text = jax.jit(step).lower(numbers, rate, start, moments, start).as_text()
        return text, jax.tree.structure(moments)  # checkpoints hold the moments

    def by_hand(numbers, rate):
        return optax.chain(
            optax.clip_by_global_norm(numbers["clip_norm"]),
            optax.scale_by_adam(b1=numbers["b1"], b2=numbers["b2"], eps=numbers["eps"]),
            optax.add_decayed_weights(numbers["weight_decay"], mask=MASK),
            optax.scale_by_learning_rate(rate),
        )

    def ours(numbers, rate):
        return make_optimizer(TINY, plain.structure, numbers, rate)

    def blueprint(**rates):
        return Blueprint.of(
            make_run(optimizer=AdamW(kind="adamw", learning_rate=RATE, learning_rates=RoleRates(**rates))), 8
        )

    plain = AdamW(kind="adamw", learning_rate=RATE)
    assert lowered(ours) == lowered(by_hand)
    assert blueprint(gain=0.1) == blueprint(gain=0.2) != blueprint(head=0.1)
    assert dict(plain.structure) == {"kind": "adamw"}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_weight_decay_touches_matrices_alone(kind):
    optimizer = OPTIMIZERS[kind](kind=kind, learning_rate=RATE, weight_decay=0.5)
    start = init_params(TINY, 0)
    nothing = {name: np.zeros_like(array) for name, array in start.items()}
    after, _ = step_of(optimizer)(nothing, moments_of(optimizer, start), start)
    for name, array in start.items():
        factor = np.float32(1 - RATE * 0.5) if name in MATRICES else np.float32(1)
        np.testing.assert_allclose(after[name], array * factor, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_moments_are_as_many_as_plans_count(kind):
    optimizer = OPTIMIZERS[kind](kind=kind, learning_rate=RATE)
    state = abstract_state(Blueprint.of(make_run(optimizer=optimizer), 8))
    numbers = sum(leaf.size for leaf in jax.tree.leaves(state.moments) if leaf.shape)
    assert numbers == optimizer.moments * count_parameters(TINY).total


def test_every_optimizer_has_a_transformation():
    assert OPTIMIZERS.keys() == DIRECTIONS.keys()
    assert all(
        model.model_fields["kind"].annotation.__args__ == (kind,) for kind, model in OPTIMIZERS.items()
    )


def test_one_program_serves_all_numbers_and_no_other_structure():
    def blueprint(**fields):
        return Blueprint.of(make_run(optimizer=SGD(kind="sgd", **fields)), 8)

    one = blueprint(learning_rate=0.1)
    assert one == blueprint(learning_rate=0.2, momentum=0.5, weight_decay=1.0, clip_norm=2.0)
    assert hash(one) == hash(blueprint(learning_rate=0.3))
    assert one != blueprint(learning_rate=0.1, nesterov=True)
    assert one != Blueprint.of(make_run(), 8)


def test_the_state_of_seven_billion_parameters_is_described_without_arrays():
    shape = Shape(
        depth=32, width=4096, heads=32, kv_heads=32, head_dim=128, mlp_width=11008,
        vocab_size=32000, context=2048,
    )  # fmt: skip
    blueprint = Blueprint.of(make_run(shape=shape), 1)
    abstract_state(Blueprint.of(make_run(), 1))  # imports and first use
    tracemalloc.start()
    began = time.process_time()
    state = abstract_state(blueprint)
    seconds, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sum(leaf.size for leaf in jax.tree.leaves(state.params)) == count_parameters(shape).total > 6e9
    assert sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state)) > 8e10
    assert seconds < 0.5 and peak < 5e6
