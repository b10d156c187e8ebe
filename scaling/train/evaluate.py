"""Loss on the fixed evaluation windows, document by document."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import numpy as np

from scaling.data.store import TokenStore
from scaling.model.roles import Params
from scaling.train.loop import Program

BATCH_TOKENS = 8192  # per call of the compiled program: large enough to be efficient, small in memory


@dataclass(frozen=True)
class Evaluation:
    """``loss`` in nats per token over all evaluation tokens; ``loss_se`` its standard error over documents
    (of the text, common to all runs: no weight for a fit)."""

    loss: float
    loss_se: float | None
    tokens: int
    document_losses: tuple[float, ...]


def make_evaluator(program: Program, store: TokenStore) -> Callable[[Params], Evaluation]:
    """Make a function of parameters; windows are padded to whole batches once, and compiled for once."""
    windows, weights, documents = store.eval_windows()
    batch = max(1, BATCH_TOKENS // program.model.shape.context)
    batch = min(batch, len(windows))
    pad = -len(windows) % batch
    windows = np.concatenate([windows, np.zeros((pad, windows.shape[1]), windows.dtype)])
    weights = np.concatenate([weights, np.zeros((pad, weights.shape[1]), weights.dtype)])
    sums = jax.jit(lambda params, w, m: (program.model.token_losses(params, w) * m).sum(axis=1))

    def evaluate(params: Params) -> Evaluation:
        parts = [
            sums(params, windows[i : i + batch], weights[i : i + batch])
            for i in range(0, len(windows), batch)
        ]
        nats = np.concatenate([np.asarray(part, np.float64) for part in parts])[: len(documents)]
        tokens = weights.sum(axis=1, dtype=np.float64)[: len(documents)]
        return summarize(nats, tokens, documents)

    return evaluate


def summarize(nats_W: np.ndarray, tokens_W: np.ndarray, documents_W: np.ndarray) -> Evaluation:
    """Aggregate windows by document; the standard error is that of a ratio estimator (Cochran, 1977, 6.4)."""
    tokens = np.bincount(documents_W, weights=tokens_W)
    nats = np.bincount(documents_W, weights=nats_W)[tokens > 0]  # of the documents that are evaluated at all
    tokens = tokens[tokens > 0]
    total, count = float(tokens.sum()), len(tokens)
    loss = float(nats.sum()) / total
    spread = float(np.square(nats - loss * tokens).sum())
    error = math.sqrt(spread * count / (count - 1)) / total if count > 1 else None
    return Evaluation(loss, error, round(total), tuple(float(x) for x in nats / tokens))
