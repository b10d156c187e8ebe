"""A small GPT in PyTorch, one run of a study: ``python train_torch.py --run run.json --data bytes.npz``.

Reads what it is asked for and writes what it finds through one file, scaling/external.py: installed with this
package, or copied beside this script.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

try:
    from scaling.external import External
except ImportError:
    from external import External

VOCABULARY, HEAD = 256, 8


class Norm(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, self.gain.shape, self.gain, eps=1e-6)


def linear(inputs: int, outputs: int, std: float) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, bias=False)
    nn.init.normal_(layer.weight, std=std) if std else nn.init.zeros_(layer.weight)
    return layer


def rotated(x: torch.Tensor) -> torch.Tensor:
    """Turn the pairs of channels of queries or keys by their places (B, heads, T, HEAD)."""
    speeds = 1e4 ** (-torch.arange(HEAD // 2) / (HEAD // 2))
    angles = torch.arange(x.shape[2])[:, None] * speeds
    first, second = x.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class Block(nn.Module):
    def __init__(self, width: int, layers: int):
        super().__init__()
        branch = (2 * layers) ** -0.5  # what writes into the residual stream starts smaller (GPT-2)
        self.norm1, self.norm2 = Norm(width), Norm(width)
        self.qkv = linear(width, 3 * width, width**-0.5)
        self.out = linear(width, width, branch * width**-0.5)
        self.up = linear(width, 4 * width, width**-0.5)
        self.down = linear(4 * width, width, branch * (4 * width) ** -0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, T, D = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(B, T, 3, D // HEAD, HEAD).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(rotated(q), rotated(k), v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(B, T, D))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, width: int, layers: int):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)  # starts with a deviation of 1
        self.blocks = nn.ModuleList(Block(width, layers) for _ in range(layers))
        self.norm, self.head = Norm(width), linear(width, VOCABULARY, 0.0)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Return the loss of each predicted token, in nats: (B, T)."""
        inputs, targets = windows[:, :-1], windows[:, 1:]
        x = self.tokens(inputs)
        for block in self.blocks:
            x = block(x)
        logits = self.head(self.norm(x))
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)


def batches(text: np.ndarray, run: External, first: int):
    """Yield the batches of steps ``first + 1`` and on: windows of the text in an order of the run's own."""
    context = run.context
    order = np.random.default_rng(run.order).permutation((len(text) - 1) // context)
    for step in range(first, run.steps):
        of_step = order.take(range(step * run.batch_sequences, (step + 1) * run.batch_sequences), mode="wrap")
        yield torch.from_numpy(text[of_step[:, None] * context + np.arange(context + 1)].astype(np.int64))


def rate(run: External, step: int) -> float:
    """Return the learning rate of step 0, 1, ...: linear warmup, constant, linear decay."""
    decay = round(run.recipe["decay"] * run.steps)
    falling = (run.steps - step) / (decay + 1)
    return run.learning_rate * min(1.0, (step + 1) / run.recipe["warmup"], falling)


@torch.no_grad()
def evaluate(model: GPT, windows: np.ndarray, weights: np.ndarray) -> float:
    total = 0.0
    for at in range(0, len(windows), 256):
        losses = model(torch.from_numpy(windows[at : at + 256].astype(np.int64))).numpy()
        total += float((losses * weights[at : at + 256]).sum(dtype=np.float64))
    return total / float(weights.sum(dtype=np.float64))


def main(data: Path) -> None:
    run = External()
    torch.manual_seed(run.seed)
    torch.set_num_threads(1)
    given = np.load(data)
    model = GPT(**run.config)
    params = sum(p.numel() for p in model.parameters())
    assert params == run.asked["size"]["params"], f"this model has {params} parameters"
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.95), weight_decay=0.0)
    step, losses = 0, []
    if saved := run.latest():
        step, folder = saved
        state = torch.load(folder / "state.pt")
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        losses = state["losses"]

    def save(folder: Path) -> None:
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "losses": losses}
        torch.save(state, folder / "state.pt")

    for batch in batches(given["train"], run, step):
        for group in optimizer.param_groups:
            group["lr"] = rate(run, step)
        loss = model(batch).mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            return run.diverged(f"loss {losses[-1]} at step {step}")
        if step % 50 == 0 or step == run.steps:
            run.log(step, sum(losses) / len(losses))
            losses.clear()
        if run.save_due(step):
            run.save(step, save)
        run.exit_if_asked()
    run.finish(loss=evaluate(model, given["windows"], given["weights"]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", required=True)
    parser.add_argument("--data", type=Path, required=True)
    main(parser.parse_args().data)
