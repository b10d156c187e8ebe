"""CPU time of one layer's experts, forward and backward, beside other ways of the same sums.

    taskset -c 0 python benchmarks/experts.py [--rounds 15]

* blocks: ``scaling.model.experts.through_experts``, as jobs run it, sorting and copying included;
* all: every expert on all tokens, weighted (``dense=True``);
* ragged: ``jax.lax.ragged_dot`` on the same sorted rows, differentiated by jax;
* mlp: a dense MLP of as many channels as a token uses: the least there is to do.

Contestants take turns; the figure of each is the median of its rounds in CPU seconds of the process. Exit
code 1 where another way of the experts is faster than blocks.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from scaling.model import experts
from scaling.model.experts import MLPs, Routes, route, through_experts
from scaling.model.products import PRODUCTS

PRODUCT = PRODUCTS["float32"]
# tokens, width, hidden width of an expert, experts, active
CASES = [(512, 64, 168, 8, 1), (2048, 64, 168, 8, 2), (2048, 128, 344, 16, 1), (4096, 128, 344, 16, 2)]
Layer = Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]


def gated(projected: jax.Array) -> jax.Array:
    gate, up = jnp.split(projected, 2, axis=-1)
    return jax.nn.silu(gate) * up


def layers(active: int) -> dict[str, Layer]:
    def ours(x: jax.Array, router: jax.Array, up: jax.Array, down: jax.Array, dense: bool = False):
        routes, _ = route(x, router, active)
        return through_experts(MLPs(PRODUCT, up, down, gated), routes, x, dense=dense)

    def everything(x: jax.Array, router: jax.Array, up: jax.Array, down: jax.Array):
        return ours(x, router, up, down, dense=True)

    def ragged(x: jax.Array, router: jax.Array, up: jax.Array, down: jax.Array):
        routes: Routes = route(x, router, active)[0]
        expert = routes.expert_NxA.reshape(-1)
        order = jnp.argsort(expert, stable=True)
        sizes = jnp.bincount(expert, length=up.shape[0])
        hidden = gated(jax.lax.ragged_dot(x[order // active], up, sizes))
        out = jax.lax.ragged_dot(hidden, down, sizes)
        return jnp.zeros_like(x).at[order // active].add(out * routes.weight_NxA.reshape(-1)[order, None])

    def mlp(x: jax.Array, router: jax.Array, up: jax.Array, down: jax.Array):
        joined = up[:active].transpose(1, 0, 2).reshape(x.shape[1], -1)
        return gated(x @ joined) @ down[:active].reshape(-1, x.shape[1])

    return {"blocks": ours, "all": everything, "ragged": ragged, "mlp": mlp}


def cpu_seconds(case: tuple[int, ...], rounds: int) -> dict[str, float]:
    """Return the median CPU seconds of each contestant's loss and gradients."""
    tokens, width, hidden, count, active = case
    dims = (tokens, width), (width, count), (count, width, 2 * hidden), (count, hidden, width)
    keys = jax.random.split(jax.random.key(0), len(dims))
    arrays = [
        jax.random.normal(key, shape) * (shape[-2] ** -0.5 if i else 1)
        for i, (key, shape) in enumerate(zip(keys, dims, strict=True))
    ]
    programs, times = {}, {}
    for name, layer in layers(active).items():
        gradient = jax.value_and_grad(lambda *a, layer=layer: jnp.square(layer(*a)).sum(), argnums=range(4))
        programs[name] = jax.jit(gradient).lower(*arrays).compile()
        jax.block_until_ready(programs[name](*arrays))
        times[name] = []
    for _ in range(rounds):
        for name, program in programs.items():
            began = time.process_time()
            jax.block_until_ready(program(*arrays))
            times[name].append(time.process_time() - began)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    slower = False
    print(f"jax {jax.__version__}, blocks of {experts.BLOCK} rows; CPU ms, and as a multiple of mlp")
    for case in CASES:
        seconds = cpu_seconds(case, rounds)
        shown = [f"{name} {1e3 * s:.1f} ({s / seconds['mlp']:.1f})" for name, s in seconds.items()]
        print("tokens {}, width {}, hidden {}, {} experts, {} active:".format(*case), ", ".join(shown))
        slower |= seconds["blocks"] > min(seconds["all"], seconds["ragged"])
    return int(slower)


if __name__ == "__main__":
    sys.exit(main())
