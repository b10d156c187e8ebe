"""Optimizers as programs have them: steps of optax used directly, roles, moments, states without arrays."""

import time
import tracemalloc
from dataclasses import replace

import jax
import numpy as np
import optax
import pytest

from scaling.counts.params import count_parameters
from scaling.counts.shape import Experts, Shape, parameter_table
from scaling.model.roles import abstract_params, init_params
from scaling.recipe.optimizers import OPTIMIZERS, SGD, Adafactor, AdamW, Lion, Muon, RoleRates
from scaling.run import run_id
from scaling.train.optimizers import DIRECTIONS, make_optimizer, numbers_of
from scaling.train.program import Blueprint, abstract_state
from tests.train.runs import TINY, make_run

RATE = 0.01
TIED = replace(TINY, depth=2, kv_heads=1, tied=True)
EXPERTS = replace(TIED, tied=False, experts=Experts(count=3, active=2, shared=1, granularity=2))
SHAPES = {"dense": replace(TIED, tied=False), "tied": TIED, "experts": EXPERTS}
MATRICES = {f"blocks/{name}/kernel" for name in ("query", "key", "value", "output", "up", "gate", "down")}
MATRICES |= {f"blocks/experts_{name}/kernel" for name in ("up", "gate", "down")}
MASK = {name: name in MATRICES for name in abstract_params(TINY)}


def apart(tree):
    """Every array of a stack by itself, matrices with one axis of inputs and one of outputs: what somebody
    would have who stacks nothing."""
    arrays = {}
    for name, array in tree.items():
        stacked = 0 if "blocks/" not in name else 2 if "experts_" in name else 1
        inputs = 2 if "output" in name else 1
        sizes, array = array.shape[stacked:], np.asarray(array)
        single = [np.prod(part, dtype=int) for part in (sizes[:inputs], sizes[inputs:]) if part]
        arrays |= {f"{name}:{i}": one for i, one in enumerate(array.reshape(-1, *single))}
    return arrays


def decaying(tree):
    """Names, in what :func:`apart` gives, of what decays: matrices and routers."""
    return {name: name.partition(":")[0] in MATRICES | {"blocks/router/kernel"} for name in tree}


def muon(**fields):
    """Muon of optax for single matrices, AdamW of optax for all else."""
    adam = optax.adamw(RATE, b1=0.8, b2=0.9, eps=1e-6, weight_decay=0.3, mask=decaying)
    matrices = optax.contrib.muon(
        RATE, ns_steps=4, beta=0.7, eps=1e-6, weight_decay=0.3, weight_decay_mask=decaying, **fields
    )
    label = {True: "matrix", False: "other"}
    return optax.multi_transform(
        {"matrix": matrices, "other": adam},
        lambda tree: {name: label[name.partition(":")[0] in MATRICES] for name in tree},
    )


def adafactor(**fields):
    return optax.adafactor(
        RATE,
        decay_rate=0.7,
        eps=1e-9,
        clipping_threshold=0.6,
        weight_decay_rate=0.3 * RATE,
        weight_decay_mask=decaying,
        **fields,
    )


MUON = dict(
    kind="muon", learning_rate=RATE, weight_decay=0.3, momentum=0.7, ns_steps=4, b1=0.8, b2=0.9, eps=1e-6
)
ADAFACTOR = dict(
    kind="adafactor", learning_rate=RATE, weight_decay=0.3, decay_rate=0.7, eps=1e-9, clipping_threshold=0.6
)
# Ours, and what somebody would write with optax alone; numbers differ from all defaults.
CASES = {
    "adamw": (
        AdamW(kind="adamw", learning_rate=RATE, weight_decay=0.3, b1=0.8, b2=0.9, eps=1e-6),
        optax.adamw(RATE, b1=0.8, b2=0.9, eps=1e-6, weight_decay=0.3, mask=decaying),
    ),
    "muon-rms": (Muon(**MUON), muon(consistent_rms=0.2)),
    "muon-spectral": (Muon(**MUON, nesterov=False, scale="spectral"), muon(nesterov=False)),
    "lion": (
        Lion(kind="lion", learning_rate=RATE, weight_decay=0.3, b1=0.8, b2=0.9),
        optax.lion(RATE, b1=0.8, b2=0.9, weight_decay=0.3, mask=decaying),
    ),
    "adafactor": (
        Adafactor(**ADAFACTOR),
        adafactor(min_dim_size_to_factor=2),
    ),
    "adafactor-momentum": (
        Adafactor(**ADAFACTOR, momentum=0.7, parameter_scale=False, smallest_factored=12),
        adafactor(min_dim_size_to_factor=12, momentum=0.7, multiply_by_parameter_scale=False),
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
SLOW = ("muon-spectral", "adafactor-momentum", "sgd")  # the same program but for a switch


def step_of(optimizer, shape=TINY):
    """Our transformation with its numbers as arguments of a compiled function, as programs have them."""

    @jax.jit
    def step(numbers, rate, grads, moments, params):
        ours = make_optimizer(shape, optimizer.structure, numbers, rate)
        updates, moments = ours.update(grads, moments, params)
        return optax.apply_updates(params, updates), moments

    return lambda *args, rate=optimizer.learning_rate: step(numbers_of(optimizer), np.float32(rate), *args)


def moments_of(optimizer, params, shape=TINY):
    return jax.jit(make_optimizer(shape, optimizer.structure, optimizer.numbers, RATE).init)(params)


def applied(direct):
    """A step of a transformation of optax, as one program: compiled one by one, its parts take longer."""

    @jax.jit
    def step(grads, moments, params):
        updates, moments = direct.update(grads, moments, params)
        return optax.apply_updates(params, updates), moments

    return step


def lowered(optimizer, make=None):
    """Text of the program of one step, and the structure of the moments, which checkpoints hold."""

    def ours(numbers, rate):
        return make_optimizer(TINY, optimizer.structure, numbers, rate)

    def step(numbers, rate, grads, moments, params):
        updates, moments = (make or ours)(numbers, rate).update(grads, moments, params)
        return optax.apply_updates(params, updates), moments

    start = init_params(TINY, 0)
    numbers, rate = numbers_of(optimizer), np.float32(RATE)
    moments = (make or ours)(numbers, rate).init(start)
    text = jax.jit(step).lower(numbers, rate, start, moments, start).as_text()
    return text, jax.tree.structure(moments)


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow) if case in SLOW else case for case in CASES]
)
def test_steps_are_those_of_optax_used_directly_on_single_arrays(case):
    optimizer, direct = CASES[case]
    shape = EXPERTS  # and shared ones: a stack by layer alone
    chance = np.random.default_rng(0)
    params = init_params(shape, 0)
    other = apart(params)
    moments, theirs = moments_of(optimizer, params, shape), jax.jit(direct.init)(other)
    step, direct_step = step_of(optimizer, shape), applied(direct)
    for _ in range(4):
        grads = {name: chance.normal(size=array.shape).astype(np.float32) for name, array in params.items()}
        norm = np.sqrt(sum(np.square(g).sum() for g in grads.values()))
        grads = {name: g / norm for name, g in grads.items()}  # of norm 1: clipped by no more than is said
        params, moments = step(grads, moments, params)
        other, theirs = direct_step(apart(grads), theirs, other)
    ours = apart(params)
    assert ours.keys() == other.keys() and len(ours) > len(params)
    for name in ours:
        np.testing.assert_allclose(ours[name], other[name], rtol=2e-6, atol=1e-7, err_msg=name)


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
    moments, theirs = moments_of(optimizer, params), jax.jit(direct.init)(other)
    step, direct_step = step_of(optimizer), applied(direct)
    for _ in range(3):
        grads = {name: (1e-3 * chance.normal(size=a.shape)).astype(np.float32) for name, a in params.items()}
        params, moments = step(grads, moments, params)
        other, theirs = direct_step(grads, theirs, other)
    for name in params:
        np.testing.assert_allclose(params[name], other[name], rtol=2e-6, atol=2e-8, err_msg=name)


def test_without_rates_by_role_the_program_is_the_old_one():
    """Not one instruction more; with them, other numbers of the same roles share a program."""

    def by_hand(numbers, rate):
        return optax.chain(
            optax.clip_by_global_norm(numbers["clip_norm"]),
            optax.scale_by_adam(b1=numbers["b1"], b2=numbers["b2"], eps=numbers["eps"]),
            optax.add_decayed_weights(numbers["weight_decay"], mask=MASK),
            optax.scale_by_learning_rate(rate),
        )

    def blueprint(**rates):
        return Blueprint.of(
            make_run(optimizer=AdamW(kind="adamw", learning_rate=RATE, learning_rates=RoleRates(**rates))), 8
        )

    plain = AdamW(kind="adamw", learning_rate=RATE)
    assert lowered(plain) == lowered(plain, by_hand)
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


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("case", CASES)
def test_moments_are_as_many_as_plans_count(case, shape):
    optimizer, _ = CASES[case]
    run = make_run(optimizer=optimizer, shape=SHAPES[shape])
    state = abstract_state(Blueprint.of(run, 8))
    leaves = [leaf for leaf in jax.tree.leaves(state.moments) if leaf.ndim]
    coefficients = 3 if optimizer.kind == "muon" else 0  # of the iterations; optax keeps them in the state
    assert sum(leaf.size for leaf in leaves) == optimizer.moments(run.shape) + coefficients
    assert {leaf.dtype for leaf in leaves} == {np.dtype(np.float32)}


@pytest.mark.parametrize("role", [{}, {"matrix": 0.05}])
def test_independent_decay_is_that_of_the_schedule_alone(role):
    """With nothing to learn, a matrix shrinks by decay x rate / peak whatever the peak; the program is that
    of the other decay."""
    rates = RoleRates(**role) if role else None
    optimizer = AdamW(kind="adamw", learning_rate=RATE, weight_decay=0.3, learning_rates=rates)
    independent = optimizer.model_copy(update={"decay": "independent"})
    start = init_params(TINY, 0)
    nothing = {name: np.zeros_like(array) for name, array in start.items()}
    params, moments = start, moments_of(independent, start)
    for part in (1.0, 0.5, 0.1):
        params, moments = step_of(independent)(nothing, moments, params, rate=part * RATE)
    for name, array in start.items():
        factor = np.float32(0.7 * 0.85 * 0.97 if MASK[name] else 1)
        np.testing.assert_allclose(params[name], array * factor, rtol=1e-6, err_msg=name)
    assert lowered(optimizer) == lowered(independent)
    assert run_id(make_run(optimizer=optimizer)) != run_id(make_run(optimizer=independent))


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
