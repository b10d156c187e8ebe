"""Corpora that are generated as they are trained on, from a law that is known: nothing is stored.

A window is a pure function of (seed, index). Indices are 64-bit: training windows lie below 2^62, evaluation
windows from 2^62 on, so that the two never meet however long a run is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from scaling.recipe.quantities import Described, Whole
from scaling.tokenizers.base import TokenizerFacts, dtype_of

if TYPE_CHECKING:
    import numpy as np

EVALUATION = 1 << 62  # the first index of an evaluation window
CHUNK = 1 << 15  # tokens that NumPy makes at a time: its arrays stay in the cache


class GeneratedCorpus(Described):
    """A source whose entropy is known. The law (facts, rules, transitions) and its windows follow from the
    fields alone."""

    tokenised: ClassVar[bool] = True

    kind: str
    seed: Annotated[Whole, Field(ge=0, lt=2**32)] = 0
    """Which of the sources of this kind: another seed has other facts, rules or transitions."""

    @property
    def vocab_size(self) -> int:
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """Return what decides every window: all fields."""
        return self.model_dump(mode="json")

    def facts(self) -> TokenizerFacts:
        return TokenizerFacts(
            name=self.kind, vocab_size=self.vocab_size, separator=None, dtype=dtype_of(self.vocab_size)
        )

    def entropy(self, context: int | None = None) -> float:
        """Return the true entropy in nats per token: what the best predictor that knows the law loses.

        ``context`` is of windows of ``context + 1`` tokens, whose first token is given and all others are
        predicted; None is the rate, of an infinite context.
        """
        raise NotImplementedError

    def nats(self, windows: np.ndarray) -> np.ndarray:
        """Return what the best predictor that knows the law loses at each predicted token of windows
        (n, context + 1): float64 (n, context). Its mean over windows is ``entropy(context)``."""
        raise NotImplementedError

    def windows(self, indices: Any, context: int, xp: Any = None) -> Any:
        """Return windows, int32 (n, context + 1). Ask for some hundred at once: NumPy then makes 20 million
        tokens a second, and .6 million four windows at a time.

        Args:
            indices: 64-bit (n,), or their high and low words, uint32 (n, 2), as a device has them.
            context: predicted tokens of a window.
            xp: ``numpy`` (None) or ``jax.numpy``: the integers are the same; under ``jax.jit`` too.
        """
        import numpy as np

        from scaling.corpora.draws import words_of

        words = words_of(indices) if indices.ndim == 1 else indices
        if xp is not None and xp is not np:
            return self._windows((words[:, :1], words[:, 1:]), context, xp)
        rows = max(1, CHUNK // (context + 1))
        pieces = [words[i : i + rows] for i in range(0, len(words), rows)]
        made = [self._windows((piece[:, :1], piece[:, 1:]), context, np) for piece in pieces]
        return np.concatenate([np.empty((0, context + 1), np.int32), *made])

    def training_windows(self, indices: np.ndarray, context: int) -> np.ndarray:
        """Return windows to train on; no index of theirs is an evaluation window's."""
        assert len(indices) == 0 or (indices.min() >= 0 and indices.max() < EVALUATION), "not for training"
        return self.windows(indices, context)

    def evaluation_windows(self, count: int, context: int) -> np.ndarray:
        """Return the first ``count`` evaluation windows."""
        import numpy as np

        assert 0 <= count < EVALUATION, "not an evaluation window"
        return self.windows(EVALUATION + np.arange(count, dtype=np.int64), context)

    def _windows(self, words: tuple[Any, Any], context: int, xp: Any) -> Any:
        """Make the windows of indices whose high and low words are columns (n, 1) of uint32."""
        raise NotImplementedError
