"""What trains in the benchmarks: the same GPT step by this package, by torch and by google-deepmind/nanodo.

Each contestant is a function from a :class:`Case` to a :class:`Trainer`. Only the standard library is
imported at the top: the interpreter of one contestant need not have the packages of another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from scaling.counts.lowering import Lowering
    from scaling.counts.shape import Shape

RATE, GEMM = 1e-3, 2048


@dataclass(frozen=True, kw_only=True)
class Case:
    """A decoder with a GELU MLP of 4 x width and one table for embedding and head, AdamW, and its batch.

    ``call`` is the most steps that one call of a compiled program takes. ``lowering`` and
    ``pack`` are for ours alone: how its program is laid out (None: as on one CPU device), and the runs that
    train side by side in it.
    """

    depth: int
    width: int
    heads: int
    context: int
    batch: int
    vocab: int = 256
    call: int = 16
    device: str = "cpu"
    precision: str = "float32"
    lowering: Lowering | None = None
    pack: int = 1

    @property
    def tokens(self) -> int:
        """Return those of one step."""
        return self.batch * self.context


class Trainer(NamedTuple):
    """``train`` takes so many steps and waits for them; ``facts`` are versions of its libraries."""

    train: Callable[[int], None]
    facts: dict[str, Any]


def ours(case: Case) -> Trainer:
    """Train by the very program that jobs run, clipping and metrics included."""
    import jax
    import numpy as np

    from scaling.recipe.optimizers import AdamW
    from scaling.train.optimizers import numbers_of

    optimizer = AdamW(kind="adamw", learning_rate=RATE)
    program = _our_program(replace(case, pack=1), optimizer.structure)
    each = [_windows(case, case.call), np.full(case.call, RATE, np.float32), numbers_of(optimizer)]
    state, chunk, live_of = program.start(0), program.chunk, np.int32
    if case.pack > 1:
        from scaling.train.pack import Pack

        pack = Pack(program, case.pack)
        for place in range(case.pack):
            pack.write(place, program.start(place))
        each = jax.tree.map(lambda values: np.stack([values] * case.pack), each)
        state, chunk, live_of = pack.states, pack.chunk, partial(np.full, case.pack, dtype=np.int32)

    def train(steps: int) -> None:
        nonlocal state
        for first in range(0, steps, case.call):
            state, metrics = chunk(state, *each, live_of(min(case.call, steps - first)))
        jax.block_until_ready((state, metrics))

    facts = {"device": jax.local_devices()[0].device_kind}
    return Trainer(train, facts | _versions("jax", "flax", "optax"))


def shape_of(case: Case) -> Shape:
    """Describe the model to this package, which needs no jax for it."""
    from scaling.counts.shape import Shape

    return Shape(
        depth=case.depth,
        width=case.width,
        heads=case.heads,
        kv_heads=case.heads,
        head_dim=case.width // case.heads,
        mlp_width=4 * case.width,
        mlp="gelu",
        vocab_size=case.vocab,
        context=case.context,
        tied=True,
    )


def parameters(case: Case) -> int:
    from scaling.counts.params import count_parameters

    return count_parameters(shape_of(case)).total


def step_flops(case: Case) -> int:
    from scaling.counts.flops import training_flops

    return training_flops(shape_of(case), case.batch).flops


@lru_cache(maxsize=1)
def _our_program(case: Case, optimizer: Any) -> Any:
    try:
        from scaling.train.program import Blueprint, make_program
    except ModuleNotFoundError:  # of an older checkout: train_step.py --before
        from scaling.train.loop import Blueprint, make_program

    fixed = {"shape": shape_of(case), "optimizer": optimizer, "precision": case.precision}
    if case.lowering:
        fixed["lowering"] = case.lowering
    return make_program(Blueprint(**fixed, batch_sequences=case.batch, chunk_steps=case.call))


def torch_eager(case: Case) -> Trainer:
    return _torch(case, compiled=False)


def torch_compile(case: Case) -> Trainer:
    return _torch(case, compiled=True)


def _torch(case: Case, *, compiled: bool) -> Trainer:
    """Train a nanoGPT-style model by ``scaled_dot_product_attention``, fused AdamW and clipping; in bfloat16
    under autocast."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    torch.manual_seed(0)
    torch.set_num_threads(1)
    width = case.width

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
                y.view(b, t, case.heads, d // case.heads).transpose(1, 2)
                for y in self.qkv(self.norm1(x)).split(d, 2)
            )
            mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(mixed.transpose(1, 2).reshape(b, t, d))
            return x + self.down(F.gelu(self.up(self.norm2(x))))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens, self.positions = nn.Embedding(case.vocab, width), nn.Embedding(case.context, width)
            self.blocks = nn.ModuleList(Block() for _ in range(case.depth))
            self.norm, self.head = nn.LayerNorm(width, bias=False), nn.Linear(width, case.vocab, bias=False)
            self.head.weight = self.tokens.weight

        def forward(self, window):
            y = self.tokens(window[:, :-1]) + self.positions.weight[None]
            for block in self.blocks:
                y = block(y)
            logits = self.head(self.norm(y))
            return F.cross_entropy(logits.reshape(-1, case.vocab), window[:, 1:].reshape(-1))

    device = "cuda" if case.device == "gpu" else case.device
    model = Model().to(device)
    loss = torch.compile(model) if compiled else model
    optimizer = torch.optim.AdamW(model.parameters(), RATE, (0.9, 0.95), weight_decay=0.1, fused=True)
    windows = torch.randint(0, case.vocab, (case.call, case.batch, case.context + 1), device=device)
    rounded = torch.autocast(device, torch.bfloat16, enabled=case.precision == "bfloat16")

    def train(steps: int) -> None:
        for step in range(steps):
            with rounded:
                value = loss(windows[step % case.call])
            value.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if device == "cuda":
            torch.cuda.synchronize()

    name = torch.cuda.get_device_name() if device == "cuda" else device
    return Trainer(train, {"device": name} | _versions("torch"))


class Config(dict):
    """What nanodo's optimizer needs of ml_collections.ConfigDict."""

    __getattr__ = dict.__getitem__


def nanodo(case: Case) -> Trainer:
    """Train by nanodo's own model and optimizer, its loss and donated state, without its metrics and data
    loading. Not clipped, as by its default."""
    import jax
    import optax
    from nanodo import model as nanodo_model
    from nanodo import optimizer as nanodo_optimizer

    module = nanodo_model.TransformerDo(
        nanodo_model.DoConfig(
            D=case.width, H=case.heads, L=case.context, N=case.depth, V=case.vocab, F=4 * case.width,
            fsdp_enabled=False,
        )
    )  # fmt: skip
    tx = nanodo_optimizer.get_optimizer(
        Config(
            optimizer="adamw", init_learning_rate=1e-4, peak_learning_rate=RATE, final_learning_rate=1e-4,
            warmup_steps=10, num_train_steps=10_000, decay_type="cosine", weight_decay=0.1,
        )
    )  # fmt: skip
    windows = _windows(case, case.call)
    params = jax.jit(module.init)(jax.random.PRNGKey(0), windows[0, :, :-1])["params"]
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

    def train(steps: int) -> None:
        nonlocal state
        for number in range(steps):
            state, value = step(state, windows[number % case.call])
        jax.block_until_ready((state, value))

    return Trainer(train, _versions("jax", "flax", "optax"))


def gemm(_: Case) -> Trainer:
    """Multiply two 2048^2 matrices in float32 by XLA: the physical limit; a step is one product."""
    import jax
    import jax.numpy as jnp

    a = jnp.ones((GEMM, GEMM))
    multiply = jax.jit(lambda a: a @ a)

    def train(steps: int) -> None:
        for _ in range(steps):
            multiply(a).block_until_ready()

    return Trainer(train, _versions("jax"))


CONTESTANTS: dict[str, Callable[[Case], Trainer]] = {
    "ours": ours,
    "torch": torch_eager,
    "torch.compile": torch_compile,
    "nanodo": nanodo,
    "gemm": gemm,
}


def _windows(case: Case, steps: int) -> Any:
    import numpy as np

    dims = (steps, case.batch, case.context + 1)
    return np.random.default_rng(0).integers(0, case.vocab, dims, np.int32)


def _versions(*packages: str) -> dict[str, Any]:
    from importlib.metadata import version

    return {"versions": {package: version(package) for package in packages}}
