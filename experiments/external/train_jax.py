"""The small GPT of train_torch.py in plain JAX: ``python train_jax.py --run run.json --data bytes.npz``."""

from __future__ import annotations

import argparse
import math
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

try:
    from scaling.external import External
except ImportError:
    from external import External

VOCABULARY, HEAD, B1, B2 = 256, 8, 0.9, 0.95


def initial(width: int, layers: int, seed: int) -> dict[str, jax.Array]:
    """Draw the parameters; those of all layers are stacked."""
    branch = (2 * layers) ** -0.5
    drawn = {
        "tokens": ((VOCABULARY, width), 1.0),
        "qkv": ((layers, width, 3 * width), width**-0.5),
        "out": ((layers, width, width), branch * width**-0.5),
        "up": ((layers, width, 4 * width), width**-0.5),
        "down": ((layers, 4 * width, width), branch * (4 * width) ** -0.5),
    }
    keys = jax.random.split(jax.random.key(seed), len(drawn))
    params = {
        name: std * jax.random.normal(key, dims)
        for key, (name, (dims, std)) in zip(keys, drawn.items(), strict=True)
    }
    ones = {"norm1": (layers, width), "norm2": (layers, width), "norm": (width,)}
    params |= {name: jnp.ones(dims) for name, dims in ones.items()}
    return params | {"head": jnp.zeros((width, VOCABULARY))}


def normed(x: jax.Array, gain: jax.Array) -> jax.Array:
    return gain * x * jax.lax.rsqrt(jnp.square(x).mean(-1, keepdims=True) + 1e-6)


def rotated(x: jax.Array) -> jax.Array:
    """Turn the pairs of channels of queries or keys by their places (B, T, heads, HEAD)."""
    speeds = 1e4 ** (-jnp.arange(HEAD // 2) / (HEAD // 2))
    angles = (jnp.arange(x.shape[1])[:, None] * speeds)[:, None]
    first, second = jnp.split(x, 2, axis=-1)
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    return jnp.concatenate([first * cos - second * sin, first * sin + second * cos], axis=-1)


def losses_of(params: dict[str, jax.Array], windows: jax.Array) -> jax.Array:
    """Return the loss of each predicted token, in nats: (B, T)."""
    inputs, targets = windows[:, :-1], windows[:, 1:]
    B, T = inputs.shape
    x = params["tokens"][inputs]
    causal = jnp.tril(jnp.ones((T, T), bool))
    for layer in range(params["qkv"].shape[0]):
        of = {name: array[layer] for name, array in params.items() if name not in OUTSIDE}
        q, k, v = jnp.moveaxis((normed(x, of["norm1"]) @ of["qkv"]).reshape(B, T, 3, -1, HEAD), 2, 0)
        scores = jnp.einsum("bqhc,bkhc->bhqk", rotated(q), rotated(k)) / math.sqrt(HEAD)
        weights = jax.nn.softmax(jnp.where(causal, scores, -jnp.inf))
        x = x + jnp.einsum("bhqk,bkhc->bqhc", weights, v).reshape(x.shape) @ of["out"]
        x = x + jax.nn.gelu(normed(x, of["norm2"]) @ of["up"]) @ of["down"]
    logits = normed(x, params["norm"]) @ params["head"]
    chosen = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - chosen


OUTSIDE = ("tokens", "norm", "head")  # of the layers


@partial(jax.jit, donate_argnums=0)
def train_step(state: dict, batch: jax.Array, rate: jax.Array) -> tuple[dict, jax.Array]:
    """Take a step of Adam, gradients clipped at a norm of 1."""
    loss, gradients = jax.value_and_grad(lambda params: losses_of(params, batch).mean())(state["params"])
    norm = jnp.sqrt(sum(jnp.square(gradient).sum() for gradient in gradients.values()))
    count = state["count"] + 1
    new = {"params": {}, "mean": {}, "square": {}, "count": count}
    for name, gradient in gradients.items():
        gradient = gradient / jnp.maximum(norm, 1.0)
        mean = new["mean"][name] = B1 * state["mean"][name] + (1 - B1) * gradient
        square = new["square"][name] = B2 * state["square"][name] + (1 - B2) * jnp.square(gradient)
        step = mean / (1 - B1**count) / (jnp.sqrt(square / (1 - B2**count)) + 1e-8)
        new["params"][name] = state["params"][name] - rate * step
    return new, loss


def batch_of(text: np.ndarray, order: np.ndarray, run: External, step: int) -> np.ndarray:
    places = range(step * run.batch_sequences, (step + 1) * run.batch_sequences)
    starts = order.take(places, mode="wrap")[:, None] * run.context
    return text[starts + np.arange(run.context + 1)].astype(np.int32)


def rate_of(run: External, step: int) -> float:
    """Return the learning rate of step 0, 1, ...: linear warmup, constant, linear decay."""
    decay = round(run.recipe["decay"] * run.steps)
    falling = (run.steps - step) / (decay + 1)
    return run.learning_rate * min(1.0, (step + 1) / run.recipe["warmup"], falling)


def evaluate(params: dict[str, jax.Array], windows: np.ndarray, weights: np.ndarray) -> float:
    total, compiled = 0.0, jax.jit(losses_of)
    for at in range(0, len(windows), 256):
        losses = np.asarray(compiled(params, windows[at : at + 256].astype(np.int32)), np.float64)
        total += float((losses * weights[at : at + 256]).sum())
    return total / float(weights.sum(dtype=np.float64))


def main(data: Path) -> None:
    run, given = External(), np.load(data)
    text = given["train"]
    params = initial(seed=run.seed, **run.config)
    count = sum(array.size for array in params.values())
    assert count == run.asked["size"]["params"], f"this model has {count} parameters"
    zeros = {name: jnp.zeros_like(array) for name, array in params.items()}
    state = {"params": params, "mean": zeros, "square": jax.tree.map(jnp.copy, zeros), "count": 0}
    step, losses = 0, []
    if saved := run.latest():
        step, folder = saved
        leaves = np.load(folder / "state.npz")
        state = jax.tree.unflatten(jax.tree.structure(state), [leaves[name] for name in leaves.files])
    order = np.random.default_rng(run.order).permutation((len(text) - 1) // run.context)

    def save(folder: Path) -> None:
        np.savez(folder / "state.npz", *jax.tree.leaves(state))

    while step < run.steps:
        state, loss = train_step(state, batch_of(text, order, run, step), rate_of(run, step))
        losses.append(loss)
        step += 1
        if step % 50 == 0 or step == run.steps:
            mean = float(np.mean(jax.device_get(losses)))
            losses.clear()
            if not math.isfinite(mean):
                return run.diverged(f"the mean loss of the steps before {step + 1} is {mean}")
            run.log(step, mean)
            if run.save_due(step):
                run.save(step, save)
            run.exit_if_asked()
    run.finish(loss=evaluate(state["params"], given["windows"], given["weights"]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", required=True)
    parser.add_argument("--data", type=Path, required=True)
    main(parser.parse_args().data)
