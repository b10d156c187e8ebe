"""Tokens of a store, memory-mapped: many processes share one copy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scaling.data.evaluation import places
from scaling.data.gather import Text
from scaling.data.index import DataIndex
from scaling.data.order import windows_at


@dataclass(frozen=True)
class TokenStore:
    """``tokens`` (index.tokens,): training documents, then held-out ones, each after a separator."""

    index: DataIndex
    tokens: np.ndarray

    def train_batches(self, seed: int, first_step: int, n_steps: int, batch_sequences: int) -> np.ndarray:
        """Return the batches of ``n_steps`` steps, int32 (n_steps, batch_sequences, context + 1).

        Columns [:-1] are inputs, [1:] targets. Step s takes places s * batch_sequences and on of the seed's
        order of windows, so the text seen does not depend on how sequences are grouped into steps.

        Args:
            seed: of the run.
            first_step: the first of the steps.
            n_steps: how many.
            batch_sequences: sequences of a step.
        """
        starts = self.train_starts(seed, first_step, n_steps, batch_sequences)
        windows = self.text.windows(starts.ravel(), self.index.context + 1)
        return windows.reshape(*starts.shape, -1)

    @property
    def text(self) -> Text:
        return Text([self.tokens])

    def train_starts(self, seed: int, first_step: int, n_steps: int, batch_sequences: int) -> np.ndarray:
        """Return the place in ``tokens`` where each window of these batches begins, int64 (n_steps,
        batch_sequences)."""
        first, count = first_step * batch_sequences, n_steps * batch_sequences
        windows = windows_at(seed, first, count, self.index.train_windows)
        return (windows * self.index.context).reshape(n_steps, batch_sequences)

    def eval_windows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the fixed evaluation set of W windows.

        Returns:
            windows: int32 (W, context + 1); columns [:-1] are inputs, [1:] targets.
            weights: float32 (W, context), 1 where the target is text, 0 where it is padding.
            document: int32 (W,), position in ``index.eval_documents``.
        """
        context = self.index.context
        windows, weights, document = [], [], []
        for position, d in enumerate(self.index.eval_documents):
            for place in places(-(-d.tokens // context), d.windows_used):
                length = min(context, d.tokens - place * context)
                start = d.start + place * context
                window = np.zeros(context + 1, np.int32)
                window[: length + 1] = self.tokens[start : start + length + 1]
                windows.append(window)
                weights.append((np.arange(context) < length).astype(np.float32))
                document.append(position)
        return np.stack(windows), np.stack(weights), np.array(document, np.int32)


def open_store(index: DataIndex) -> TokenStore:
    """Map the store of ``index``.

    Raises:
        RuntimeError: the file is not of the size that ``index`` was made for; resolve the index again.
    """
    dtype = np.dtype(index.dtype).newbyteorder("<")
    if index.path.stat().st_size != index.tokens * dtype.itemsize:
        raise RuntimeError(f"{index.path} changed since it was indexed")
    return TokenStore(index, np.asarray(np.memmap(index.path, dtype, mode="r")))
