"""``python -m scaling.train.coordcheck``: sizes of activations, by place, over the first steps of runs.

Reads ``{"cells": [{"run": ..., "data": ...}, ...]}`` on standard input, runs of one shape beside each other;
prints one line of JSON for each cell.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp

from scaling.data.store import Windows
from scaling.model.activations import activations
from scaling.model.roles import Params
from scaling.run import Run
from scaling.store.records import PlanData
from scaling.train.environment import use_compilation_cache
from scaling.train.loop import ChunkInput, advance
from scaling.train.program import Blueprint, Program, make_program, model_of
from scaling.train.work import load_data

# Tokens of the batch that activations are measured on: seeds differ by much more than batches do.
LOOKED_AT = 512

Places = dict[str, jax.Array]
Row = dict[str, Any]


def measure(run: Run, windows: Windows) -> list[Row]:
    """Train all steps of a run and measure activations before the first and after each.

    They are those of one batch, the next after the last step. A row has ``step``, ``place``, ``layer`` (from
    0; 0 outside of layers), ``size`` (root mean square over tokens and channels) and ``change`` (that of the
    difference to initialisation), both None where they are not finite any more.
    """
    program, places, sizes = _compiled(Blueprint.of(run, chunk_steps=1))
    batches = windows.train_batches(run.order_seed, 0, run.steps + 1, run.batch_sequences)
    looked_at = batches[-1, : max(1, LOOKED_AT // run.shape.context), :-1]
    state = program.start(run.seed)
    initial = places(state.params, looked_at)
    rows = [*_rows(0, sizes(state.params, initial, looked_at), finite=True)]
    chunks = (ChunkInput(step, 1, batches[step : step + 1]) for step in range(run.steps))
    for step, latest, metrics in advance(program, state, run, chunks):
        rows += _rows(step, sizes(latest.params, initial, looked_at), finite=bool(metrics.ok))
    return rows


@lru_cache(maxsize=1)  # cells of one shape follow one another
def _compiled(blueprint: Blueprint) -> tuple[Program, Callable[..., Places], Callable[..., Any]]:
    program = make_program(blueprint)
    places = partial(activations, model_of(blueprint))

    def sizes(
        params: Params, initial: Places, tokens_BxT: jax.Array
    ) -> dict[str, tuple[jax.Array, jax.Array]]:
        return {place: (_rms(x), _rms(x - initial[place])) for place, x in places(params, tokens_BxT).items()}

    return program, jax.jit(places), jax.jit(sizes)


def _rms(activation: jax.Array) -> jax.Array:
    """Return the root mean square over the last three axes: tokens and channels."""
    return jnp.sqrt(jnp.mean(jnp.square(activation.astype(jnp.float32)), axis=(-3, -2, -1)))


def _rows(step: int, sizes: Any, *, finite: bool) -> Iterator[Row]:
    """Make the rows of a step."""
    for place, (size, change) in jax.device_get(sizes).items():
        for layer, pair in enumerate(zip(size, change, strict=True)):
            known = [float(x) if finite and math.isfinite(x) else None for x in pair]
            yield {"step": step, "place": place, "layer": layer, "size": known[0], "change": known[1]}


def main() -> None:
    use_compilation_cache()
    opened = dict[str, Windows]()
    for cell in json.load(sys.stdin)["cells"]:
        data = PlanData.model_validate(cell["data"])
        if data.fingerprint not in opened:
            opened[data.fingerprint] = load_data(data)
        rows = measure(Run.model_validate(cell["run"]), opened[data.fingerprint])
        print(json.dumps({"rows": rows}), flush=True)


if __name__ == "__main__":
    main()
