"""The Transformer written again in PyTorch, in float64 and as papers have it: no scan, no blocks, no
gradients by hand. It shares nothing with ours but the names of parameters."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from scaling.counts.shape import Shape


def objective(shape: Shape, params: dict[str, Tensor], window_BxT1: Tensor, z_loss: float = 0.0) -> Tensor:
    """Return the mean cross-entropy of tokens 1..T given those before, with the z-loss (PaLM,
    arXiv:2204.02311, section 5)."""
    logits_BxTxV = logits(shape, params, window_BxT1[:, :-1])
    loss = F.cross_entropy(logits_BxTxV.flatten(0, 1), window_BxT1[:, 1:].flatten())
    return loss + z_loss * logits_BxTxV.exp().sum(-1).log().square().mean()


def logits(shape: Shape, params: dict[str, Tensor], tokens_BxT: Tensor) -> Tensor:
    """Return the logits of the next token at each position: (B, T, V)."""
    documents, places = documents_and_places(shape, tokens_BxT)
    x = params["embedding/table"][tokens_BxT]
    if shape.positions == "learned":
        x = x + params["positions/table"][places]
    if shape.scaled_embedding:
        x = x * math.sqrt(shape.width)
    for layer in range(shape.depth):
        start = "blocks/"
        block = {n.removeprefix(start): p[layer] for n, p in params.items() if n.startswith(start)}
        sees_all = shape.window is None or (shape.full_every and (layer + 1) % shape.full_every == 0)
        mask = visible(documents, None if sees_all else shape.window)
        normed = norm(x, block["attention_norm/gain"])
        if shape.parallel:
            x = x + attention(shape, block, normed, mask) + channels(shape, block, normed)
        else:
            x = x + attention(shape, block, normed, mask)
            x = x + channels(shape, block, norm(x, block["mlp_norm/gain"]))
    x = norm(x, params["final_norm/gain"])
    out = x @ (params["embedding/table"].T if shape.tied else params["head/kernel"])
    return capped(out, shape.logit_softcap)


def documents_and_places(shape: Shape, tokens_BxT: Tensor) -> tuple[Tensor, Tensor]:
    """Return the number of each token's document, and its place in it: (B, T) each."""
    documents, places = torch.zeros_like(tokens_BxT), torch.zeros_like(tokens_BxT)
    for b, row in enumerate(tokens_BxT.tolist()):
        document = place = 0
        for t, token in enumerate(row):
            begins = shape.separator is not None and token == shape.separator
            document, place = (document + 1, 0) if begins else (document, place)
            documents[b, t], places[b, t] = document, place
            place += 1
    return documents, places


def visible(documents_BxT: Tensor, window: int | None) -> Tensor:
    """Return which query sees which key: (B, query, key)."""
    ago = torch.arange(documents_BxT.shape[1])[:, None] - torch.arange(documents_BxT.shape[1])[None, :]
    seen = (ago >= 0) if window is None else (ago >= 0) & (ago < window)
    return seen[None] & (documents_BxT[:, :, None] == documents_BxT[:, None, :])


def attention(shape: Shape, block: dict[str, Tensor], x: Tensor, mask: Tensor) -> Tensor:
    query, key, value = (
        torch.einsum("btd,dhk->bhtk", x, block[f"{n}/kernel"]) for n in ("query", "key", "value")
    )
    if shape.qk_norm:
        query, key = norm(query, block["query_norm/gain"]), norm(key, block["key_norm/gain"])
    if shape.positions == "rotary":
        query, key = rotated(query), rotated(key)
    key, value = (part.repeat_interleave(shape.heads // shape.kv_heads, dim=1) for part in (key, value))
    scores = capped(query @ key.transpose(2, 3) / math.sqrt(shape.head_dim), shape.attention_softcap)
    weights = scores.masked_fill(~mask[:, None], -math.inf).softmax(dim=-1)
    return torch.einsum("bhtk,hkd->btd", weights @ value, block["output/kernel"])


def channels(shape: Shape, block: dict[str, Tensor], x: Tensor) -> Tensor:
    if shape.experts is None:
        return mlp(shape, x, block["up/kernel"], block.get("gate/kernel"), block["down/kernel"])
    out = torch.zeros_like(x)
    if shape.experts.shared:
        out = mlp(shape, x, block["up/kernel"], block.get("gate/kernel"), block["down/kernel"])
    probabilities = (x @ block["router/kernel"]).softmax(dim=-1)
    gates = block.get("experts_gate/kernel")
    for b in range(x.shape[0]):
        for t in range(x.shape[1]):
            for expert in probabilities[b, t].topk(shape.experts.active).indices.tolist():
                gate = None if gates is None else gates[expert]
                up, down = block["experts_up/kernel"][expert], block["experts_down/kernel"][expert]
                out[b, t] += probabilities[b, t, expert] * mlp(shape, x[b, t], up, gate, down)
    return out


def mlp(shape: Shape, x: Tensor, up: Tensor, gate: Tensor | None, down: Tensor) -> Tensor:
    match shape.mlp:
        case "swiglu":
            assert gate is not None
            hidden = F.silu(x @ gate) * (x @ up)
        case "gelu":
            hidden = F.gelu(x @ up, approximate="tanh")
        case "relu2":
            hidden = F.relu(x @ up) ** 2
    return hidden @ down


def norm(x: Tensor, gain: Tensor) -> Tensor:
    return F.rms_norm(x, x.shape[-1:], gain, eps=1e-6)


def capped(x: Tensor, cap: float | None) -> Tensor:
    return x if cap is None else cap * torch.tanh(x / cap)


def rotated(x_BxHxTxK: Tensor) -> Tensor:
    """Rotate pairs of channels as complex numbers (Su et al., arXiv:2104.09864, equation 15)."""
    length, half = x_BxHxTxK.shape[2], x_BxHxTxK.shape[3] // 2
    angles = torch.arange(length, dtype=torch.float64)[:, None] * 10_000.0 ** (
        -torch.arange(half, dtype=torch.float64) / half
    )
    pairs = torch.complex(x_BxHxTxK[..., :half], x_BxHxTxK[..., half:])
    turned = pairs * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([turned.real, turned.imag], dim=-1)
