"""Tokens per CPU second of the training step, beside other trainers, on one core.

    python benchmarks/train_step.py [--torch-python PYTHON] [--nanodo CHECKOUT] [--rounds 5] [--core N]

Sizes: 0.85M parameters (4 layers, width 128, 4 heads) and 10.8M (6 layers, width 384, 6 heads), a GELU MLP
of 4 x width, vocabulary 256, batch 8 x 256, float32, AdamW. Every contestant does the same matmuls.

* ours: ``scaling.train.program.make_program``, the very program that jobs run, clipping and metrics included;
* torch: a nanoGPT-style step written here: eager, scaled_dot_product_attention, fused AdamW, clipping;
* nanodo: google-deepmind/nanodo's own model and optimizer from a checkout, float32, its loss, donated state,
  without its metrics and data loading. Not clipped, as by its default;
* gemm: a 2048^3 float32 matmul by XLA, the physical limit.

Each is a process of its own, pinned to the same core, all with the environment in which the harness launches
its jobs (``--plain`` leaves the environment of the shell to torch and nanodo). They take turns: one round of
each after the other, so that a noisy machine is noisy for all. CPU seconds are user + system of the process.
Exit code 1 if ours is slower than nanodo at any size.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BATCH, CONTEXT, VOCAB = 8, 256, 256
SIZES = {"0.85M": (4, 128, 4), "10.8M": (6, 384, 6)}  # layers, width, heads
STEPS = {"0.85M": 4, "10.8M": 1}  # per round
GEMM = 2048

Round = Callable[[], None]


# --- contestants: (size) -> (a function that trains STEPS steps and waits for them, facts) ---


def ours(size: str) -> tuple[Round, dict[str, Any]]:
    import flax
    import jax
    import numpy as np
    import optax

    sys.path.insert(0, str(ROOT))
    from scaling.counts.flops import training_flops
    from scaling.counts.params import count_parameters
    from scaling.counts.shape import Shape
    from scaling.recipe.optimizers import AdamW
    from scaling.train.optimizers import numbers_of
    from scaling.train.program import Blueprint, make_program

    layers, width, heads = SIZES[size]
    shape = Shape(
        depth=layers,
        width=width,
        heads=heads,
        kv_heads=heads,
        head_dim=width // heads,
        mlp_width=4 * width,
        mlp="gelu",
        vocab_size=VOCAB,
        context=CONTEXT,
    )
    n = STEPS[size]
    optimizer = AdamW(kind="adamw", learning_rate=1e-3)
    blueprint = Blueprint(
        shape=shape,
        optimizer=optimizer.structure,
        precision="float32",
        batch_sequences=BATCH,
        chunk_steps=n,
    )
    program = make_program(blueprint)
    windows = np.random.default_rng(0).integers(0, VOCAB, (n, BATCH, CONTEXT + 1), np.int32)
    rates = np.full(n, 1e-3, np.float32)
    numbers = numbers_of(optimizer)
    state = program.start(0)

    def round_() -> None:
        nonlocal state
        state, metrics = program.chunk(state, windows, rates, numbers, np.int32(n))
        jax.block_until_ready((state, metrics))

    versions = {m.__name__: m.__version__ for m in (jax, flax, optax)}
    return round_, {
        "versions": versions,
        "parameters": count_parameters(shape).total,
        "step_flops": training_flops(shape, BATCH).flops,
    }


def torch(size: str) -> tuple[Round, dict[str, Any]]:
    import torch
    from torch import nn
    from torch.nn import functional as F

    layers, width, heads = SIZES[size]
    torch.manual_seed(0)
    torch.set_num_threads(1)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = (nn.LayerNorm(width, bias=False) for _ in range(2))
            self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
            self.up, self.down = (
                nn.Linear(width, 4 * width, bias=False),
                nn.Linear(4 * width, width, bias=False),
            )

        def forward(self, x):
            b, t, d = x.shape
            q, k, v = (
                y.view(b, t, heads, d // heads).transpose(1, 2) for y in self.qkv(self.norm1(x)).split(d, 2)
            )
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(mixed.transpose(1, 2).reshape(b, t, d))
            return x + self.down(F.gelu(self.up(self.norm2(x))))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.positions = nn.Embedding(VOCAB, width), nn.Embedding(CONTEXT, width)
            self.blocks = nn.ModuleList(Block() for _ in range(layers))
            self.norm, self.head = nn.LayerNorm(width, bias=False), nn.Linear(width, VOCAB, bias=False)
            self.head.weight = self.tokens.weight

        def forward(self, x):
            y = self.tokens(x) + self.positions.weight[None]
            for block in self.blocks:
                y = block(y)
            return self.head(self.norm(y))

    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, (0.9, 0.95), weight_decay=0.1, fused=True)
    windows = torch.randint(0, VOCAB, (STEPS[size], BATCH, CONTEXT + 1))

    def round_() -> None:
        for window in windows:
            logits = model(window[:, :-1])
            F.cross_entropy(logits.reshape(-1, VOCAB), window[:, 1:].reshape(-1)).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    count = sum(p.numel() for p in model.parameters())
    return round_, {"versions": {"torch": torch.__version__}, "parameters": count}


class Config(dict):
    """What nanodo's optimizer needs of ml_collections.ConfigDict."""

    __getattr__ = dict.__getitem__


def nanodo(size: str) -> tuple[Round, dict[str, Any]]:
    import flax
    import jax
    import numpy as np
    import optax
    from nanodo import model as nanodo_model
    from nanodo import optimizer as nanodo_optimizer

    layers, width, heads = SIZES[size]
    module = nanodo_model.TransformerDo(
        nanodo_model.DoConfig(D=width, H=heads, L=CONTEXT, N=layers, V=VOCAB, F=4 * width, fsdp_enabled=False)
    )
    tx = nanodo_optimizer.get_optimizer(
        Config(
            optimizer="adamw", init_learning_rate=1e-4, peak_learning_rate=1e-3, final_learning_rate=1e-4,
            warmup_steps=10, num_train_steps=10_000, decay_type="cosine", weight_decay=0.1,
        )
    )  # fmt: skip
    windows = np.random.default_rng(0).integers(0, VOCAB, (STEPS[size], BATCH, CONTEXT + 1), np.int32)
    params = jax.jit(module.init)(jax.random.PRNGKey(0), windows[0, :, :-1])["params"]
    count = sum(x.size for x in jax.tree.leaves(params))
    state = params, tx.init(params)

    def train_step(state, window):
        def loss(params):
            logits = module.apply({"params": params}, window[:, :-1])
            return optax.losses.softmax_cross_entropy_with_integer_labels(logits, window[:, 1:]).mean()

        params, moments = state
        value, grads = jax.value_and_grad(loss)(params)
        updates, moments = tx.update(grads, moments, params)
        return (optax.apply_updates(params, updates), moments), value

    step = jax.jit(train_step, donate_argnums=0)

    def round_() -> None:
        nonlocal state
        for window in windows:
            state, value = step(state, window)
        jax.block_until_ready((state, value))

    return round_, {"versions": {m.__name__: m.__version__ for m in (jax, flax, optax)}, "parameters": count}


def gemm(_: str) -> tuple[Round, dict[str, Any]]:
    import jax
    import jax.numpy as jnp

    a = jnp.ones((GEMM, GEMM))
    multiply = jax.jit(lambda a: a @ a)
    return lambda: multiply(a).block_until_ready(), {"versions": {"jax": jax.__version__}}


CONTESTANTS = {"ours": ours, "torch": torch, "nanodo": nanodo, "gemm": gemm}


def work(name: str, size: str) -> None:
    """A contestant's process: one JSON line of facts, then CPU seconds of a round for every line read."""
    began = time.process_time()
    round_, facts = CONTESTANTS[name](size)
    round_()
    print(json.dumps(facts | {"start_cpu_seconds": time.process_time() - began}), flush=True)
    for _ in sys.stdin:
        began = time.process_time()
        round_()
        print(time.process_time() - began, flush=True)


# --- the benchmark ---


@dataclass
class Contestant:
    name: str
    process: subprocess.Popen[str]
    facts: dict[str, Any]
    seconds: list[float] = field(default_factory=list)  # CPU seconds of each round

    def round(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.seconds.append(float(self.process.stdout.readline()))


def start(name: str, size: str, core: int, python: str, environment: dict[str, str]) -> Contestant | None:
    """The contestant after its first round, or None with the reason printed."""
    pin = [python, __file__, "--core", str(core), "--worker", name, size]
    process = subprocess.Popen(
        pin, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout and process.stderr
    line = process.stdout.readline()
    if not line:
        reason = (process.stderr.read().strip().splitlines() or ["no reason given"])[-1]
        print(f"{name} {size}: skipped: {reason}")
        return None
    return Contestant(name, process, json.loads(line))


def processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if "model name" in line] if info.exists() else []
    return names[0].split(":")[1].strip() if names else platform.processor()


def compete(size: str, contestants: list[Contestant], rounds: int) -> float | None:
    """Run the rounds, print the size's rows; ours / nanodo in speed, None without nanodo."""
    for _ in range(rounds):
        for contestant in contestants:
            contestant.round()
    by_name = {c.name: c for c in contestants}
    mine, peak = by_name["ours"], 2 * GEMM**3 / statistics.median(by_name["gemm"].seconds) / 1e9
    tokens, flops = STEPS[size] * BATCH * CONTEXT, STEPS[size] * mine.facts["step_flops"]
    print(f"\n{size}: GEMM peak {peak:.1f} GFLOP per CPU second; medians [range] of {rounds} rounds")
    print(
        "contestant | parameters | tokens per CPU second | GFLOP per CPU second | of peak | ours is faster by"
    )
    ratio_to_nanodo = None
    for c in contestants:
        if c.name == "gemm":
            continue
        median = statistics.median(c.seconds)
        ratio = statistics.median(t / m for t, m in zip(c.seconds, mine.seconds, strict=True))
        if c.name == "nanodo":
            ratio_to_nanodo = ratio
        span = f"[{tokens / max(c.seconds):,.0f} to {tokens / min(c.seconds):,.0f}]"
        print(
            f"{c.name:10} | {c.facts['parameters']:10,} | {tokens / median:8,.0f} {span:19} | "
            f"{flops / median / 1e9:5.1f} | {flops / median / 1e9 / peak:4.0%} | "
            f"{'' if c is mine else f'{ratio:.2f}x'}"
        )
    return ratio_to_nanodo


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch-python", default=sys.executable, help="an interpreter that has torch")
    parser.add_argument("--nanodo", type=Path, help="a checkout of google-deepmind/nanodo")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--core", type=int, default=None, help="default: the last one allowed")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--plain", action="store_true", help="torch and nanodo in the shell's environment")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    core = max(os.sched_getaffinity(0)) if options.core is None else options.core
    if options.worker:
        os.sched_setaffinity(0, {core})
        work(*options.worker)
        return 0
    sys.path.insert(0, str(ROOT))
    from scaling.sweep.machine import Layout, Slot, has_glibc, launch_environment

    plain = {**os.environ, "JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    launched = launch_environment(plain, Layout("cpu", (Slot((core,)),)), glibc=has_glibc())
    peers = plain if options.plain else launched
    commands = {"ours": (sys.executable, launched), "torch": (options.torch_python, peers)}
    if options.nanodo:
        commands["nanodo"] = (sys.executable, {**peers, "PYTHONPATH": str(options.nanodo.resolve())})
    else:
        print("nanodo: skipped: no --nanodo CHECKOUT given")
    commands["gemm"] = (sys.executable, launched)
    print(f"{processor()}, core {core} of {os.cpu_count()}, {platform.platform()}, "
          f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}")  # fmt: skip
    print("environment:", {k: v for k, v in launched.items() if os.environ.get(k) != v})
    ratios = []
    for size in options.sizes:
        found = [start(name, size, core, python, env) for name, (python, env) in commands.items()]
        contestants = [c for c in found if c]
        if {"ours", "gemm"} - {c.name for c in contestants}:
            return 1
        for c in contestants:
            print(f"{c.name} {size}: {c.facts['versions']}, start {c.facts['start_cpu_seconds']:.1f} CPU s")
        try:
            ratios.append(compete(size, contestants, options.rounds))
        finally:
            for c in contestants:
                c.process.kill()
                c.process.wait()
    return 1 if any(r is not None and r < 1 for r in ratios) else 0


if __name__ == "__main__":
    sys.exit(main())
