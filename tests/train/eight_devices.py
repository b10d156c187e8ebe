"""What tests of sharding look at: programs on eight forced host devices, beside one device's.

As a module it reads calls of functions here as JSON, and prints a line of JSON with the result of each.
"""

from __future__ import annotations

import collections
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scaling.counts.lowering import RULES, Lowering, MeshSizes
from scaling.counts.shape import Experts, Shape
from scaling.model.roles import init_params
from scaling.recipe.optimizers import Adafactor, AdamW, Muon
from scaling.train.evaluate import window_losses
from scaling.train.optimizers import initial_moments, numbers_of
from scaling.train.program import Blueprint, chunk_function, compiled, model_of
from scaling.train.sharding import EVALUATION, make_mesh, placement
from scaling.train.step import TrainState
from tests.train import test_feed
from tests.train.runs import make_run

STEPS, BATCH, CONTEXT = 20, 8, 32
DENSE = Shape(
    depth=2, width=32, heads=8, kv_heads=8, head_dim=8, mlp_width=64, vocab_size=64, context=CONTEXT
)
SHAPES = {
    "dense": DENSE,
    "other": replace(
        DENSE, kv_heads=2, tied=True, positions="learned", separator=3, qk_norm=True, mlp="gelu"
    ),
    "experts": replace(DENSE, experts=Experts(count=4, active=2, shared=1, granularity=2)),
}
# Adam divides by |g| + eps: where eps is tiny, a rounding error in a gradient near 0 becomes a full step.
OPTIMIZERS = {
    "adamw": AdamW(kind="adamw", learning_rate=0.01, eps=1e-2),
    "muon": Muon(kind="muon", learning_rate=0.01),
    "adafactor": Adafactor(kind="adafactor", learning_rate=0.01, momentum=0.9, smallest_factored=16),
}
WINDOWS = np.int32(
    (np.random.default_rng(7).integers(0, 64, (STEPS, BATCH, 1)) + np.arange(CONTEXT + 1)) % 64
)
COLLECTIVE = re.compile(r" (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\(")

INSIDE = re.compile(COLLECTIVE.pattern + r'.*?op_name="(.*?)"')

Result = dict[str, Any]


def results_of(*calls: tuple[str, dict[str, Any]]) -> list[Any]:
    """Call functions in a process that has eight devices. It compiles in half the time: the collectives are
    the same."""
    flags = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    done = subprocess.run(
        [sys.executable, "-m", "tests.train.eight_devices"],
        input=json.dumps(calls),
        env=os.environ | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}"},
        cwd=Path(__file__).resolve().parents[2],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "rematerialization" not in done.stderr, "a whole array on each device, to be cut in another way"
    return [json.loads(line) for line in done.stdout.splitlines()]


def train(
    mesh: tuple[int, int, int],
    kind: str,
    shape: str = "dense",
    optimizer: str = "adamw",
    without: tuple[str, str] | None = None,
    **lowering: Any,
) -> Result:
    """Train for some steps, and say how far from one device's that ends.

    Args:
        mesh: devices along data, fsdp and tensor.
        kind: of the numbers of a state, such as float64.
        shape: one of :data:`SHAPES`.
        optimizer: its kind.
        without: a table of rules and the axis whose rule is left out.
        lowering: fields of a :class:`Lowering`.
    """
    sizes, rules = MeshSizes(data=mesh[0], fsdp=mesh[1], tensor=mesh[2]), dict[str, Any]()
    if without:
        table, axis = without
        rules = {axis: RULES[table].pop(axis)}
    program, arguments = _compiled(Lowering(mesh=sizes, **lowering), kind, shape, optimizer)
    if without:
        RULES[table] |= rules
    own, alone = _trained(program, arguments), _alone(kind, shape, optimizer)
    return {
        "collectives": collections.Counter(COLLECTIVE.findall(program.as_text())),
        "loops": max(name.count("/while/body") for _, name in INSIDE.findall(program.as_text())),
        "argument_bytes": program.memory_analysis().argument_size_in_bytes,
        "temporary_bytes": program.memory_analysis().temp_size_in_bytes,
        "apart": max(
            _apart(*pair) for pair in zip(jax.tree.leaves(own), jax.tree.leaves(alone), strict=True)
        ),
    }


def _compiled(lowering: Lowering, kind: str, shape: str, optimizer: str) -> tuple[Any, tuple[Any, ...]]:
    """Compile for a state in ``kind``."""
    run = make_run(shape=SHAPES[shape], optimizer=OPTIMIZERS[optimizer])
    blueprint = Blueprint.of(run, STEPS, lowering=lowering)
    number = np.dtype(kind).type
    params = {name: array.astype(kind) for name, array in init_params(run.shape, 0).items()}
    moments = initial_moments(run.shape, blueprint.optimizer, jax.tree.map(jnp.asarray, params))
    arguments = (
        TrainState(params, jax.device_get(moments), np.int32(0), np.array(True), number(0)),
        WINDOWS,
        run.learning_rates(0, STEPS).astype(kind),
        {name: number(value) for name, value in numbers_of(run.optimizer).items()},
        np.int32(STEPS),
    )
    function, _ = chunk_function(blueprint, make_mesh(lowering.mesh, BATCH))
    return compiled(function.lower(*arguments)), arguments


def _trained(program: Any, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the parameters after the chunk, losses and gradient norms of its steps."""
    state, metrics = jax.device_get(program(*arguments))
    return state.params, metrics.steps.trained.loss, metrics.steps.grad_norm


@cache
def _alone(kind: str, shape: str, optimizer: str) -> tuple[Any, ...]:
    return _trained(*_compiled(Lowering(mesh=MeshSizes()), kind, shape, optimizer))


def _apart(one: Any, other: Any) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(other))


def evaluate(mesh: tuple[int, int, int]) -> Result:
    """Evaluate drawn parameters, and say how far from one device's the losses of windows are."""
    shape = replace(DENSE, tied=True)  # no head of zeros
    run, params, weights = make_run(shape=shape), init_params(shape, 0), np.ones((BATCH, CONTEXT), np.float32)
    found = []
    for data, fsdp, tensor in (mesh, (1, 1, 1)):
        sizes = MeshSizes(data=data, fsdp=fsdp, tensor=tensor)
        on = make_mesh(sizes, BATCH)
        model = model_of(Blueprint.of(run, 1), placement(on, shape, EVALUATION))
        lowered = window_losses(SimpleNamespace(model=model, mesh=on)).lower(params, WINDOWS[0], weights)
        program = lowered.compile()
        windows = program.input_shardings[0][1].shard_shape(WINDOWS[0].shape)
        found.append((windows[0], np.asarray(program(params, WINDOWS[0], weights))))
    (windows, losses), (_, alone) = found
    return {"windows": windows, "apart": _apart(losses, alone)}


def text_of_each_step(way: str) -> None:
    """Check the feed over all devices."""
    test_feed.check_text(way, 3, 20, batch=BATCH)


def main() -> None:
    functions = {function.__name__: function for function in (train, evaluate, text_of_each_step)}
    for name, arguments in json.load(sys.stdin):
        with jax.enable_x64(arguments.get("kind") == "float64"):
            print(json.dumps(functions[name](**arguments)), flush=True)


if __name__ == "__main__":
    main()
