"""Loss on the fixed evaluation windows, document by document."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from scaling.counts.memory import EVALUATED_TOKENS
from scaling.data.index import EvalDocument
from scaling.data.store import EvalWindows, Windows
from scaling.model.roles import Params, abstract_params
from scaling.train.program import Program
from scaling.train.sharding import EVALUATION, parts_of, put, sharding, state_shardings


@dataclass(frozen=True)
class Evaluation:
    """``loss`` in nats per token over the tokens of the target; ``loss_se`` its standard error over documents
    (of the text, common to all runs: no weight for a fit). ``bits_per_byte`` is over the same windows, None
    where their bytes are not known. ``document_losses`` are by name, ``set_losses`` by evaluation set."""

    loss: float
    loss_se: float | None
    bits_per_byte: float | None
    tokens: int
    document_losses: dict[str, float]
    set_losses: dict[str, float]


def make_evaluator(program: Program, data: Windows) -> Callable[[Params], Evaluation]:
    """Make a function of parameters; windows are padded to whole batches once, and compiled for once. Each
    device has an equal part of every batch."""
    evaluated, sums = data.eval_windows(), window_losses(program)
    windows, weights, count = evaluated.tokens, evaluated.weights, len(evaluated.tokens)
    rows = sharding(program.mesh, "batch", rules=EVALUATION)
    devices = parts_of(program.mesh, EVALUATION, "batch")
    batch = devices * min(max(1, EVALUATED_TOKENS // program.model.shape.context), -(-count // devices))
    pad = -count % batch
    windows = np.concatenate([windows, np.zeros((pad, windows.shape[1]), windows.dtype)])
    weights = np.concatenate([weights, np.zeros((pad, weights.shape[1]), weights.dtype)])

    def evaluate(params: Params) -> Evaluation:
        spans = [slice(i, i + batch) for i in range(0, len(windows), batch)]
        parts = [sums(params, *put((windows[span], weights[span]), (rows, rows))) for span in spans]
        nats = np.concatenate([np.asarray(part, np.float64) for part in parts])[:count]
        return summarize(nats, evaluated, data.index.eval_documents)

    return evaluate


def window_losses(program: Program) -> Any:
    """Return the jitted function of parameters, windows and the weights of their tokens to the weighted sum
    of losses of each window."""
    model, mesh = program.model, program.mesh
    homes = state_shardings(mesh, model.shape, abstract_params(model.shape))
    rows = sharding(mesh, "batch", rules=EVALUATION)
    return jax.jit(
        lambda params, w, m: (model.token_losses(params, w) * m).sum(axis=1),
        in_shardings=(homes, rows, rows),
        out_shardings=sharding(mesh),
    )


def summarize(nats_W: np.ndarray, evaluated: EvalWindows, documents: Sequence[EvalDocument]) -> Evaluation:
    """Aggregate windows by document, and documents by set and over the target.

    The standard error is that of a ratio estimator (Cochran, 1977, 6.4).
    """
    count = len(documents)
    tokens_D = np.bincount(evaluated.document, evaluated.weights.sum(axis=1, dtype=np.float64), count)
    nats_D = np.bincount(evaluated.document, nats_W, count)
    target = np.array([document.target for document in documents]) & (tokens_D > 0)
    nats, tokens = nats_D[target], tokens_D[target]
    total, used = float(tokens.sum()), len(tokens)
    loss = float(nats.sum()) / total
    spread = float(np.square(nats - loss * tokens).sum())
    bits = None
    if evaluated.bytes is not None:
        size = float(np.bincount(evaluated.document, evaluated.bytes, count)[target].sum())
        bits = loss / math.log(2) / (size / total)
    return Evaluation(
        loss=loss,
        loss_se=math.sqrt(spread * used / (used - 1)) / total if used > 1 else None,
        bits_per_byte=bits,
        tokens=round(total),
        document_losses=_document_losses(documents, nats_D, tokens_D),
        set_losses=_set_losses(documents, nats_D, tokens_D),
    )


def _document_losses(
    documents: Sequence[EvalDocument], nats_D: np.ndarray, tokens_D: np.ndarray
) -> dict[str, float]:
    """Return losses by name; with the set in front of it where there are several sets."""
    several = len({document.set for document in documents}) > 1
    names = [f"{d.set}/{d.name}" if several else d.name for d in documents]
    losses = zip(names, nats_D.tolist(), tokens_D.tolist(), strict=True)
    return {name: nats / tokens for name, nats, tokens in losses if tokens}


def _set_losses(
    documents: Sequence[EvalDocument], nats_D: np.ndarray, tokens_D: np.ndarray
) -> dict[str, float]:
    """Return the loss of every set, where there are several."""
    sets = np.array([document.set for document in documents])
    names = list(dict.fromkeys(sets.tolist()))
    if len(names) == 1:
        return {}
    return {name: float(nats_D[sets == name].sum() / tokens_D[sets == name].sum()) for name in names}
