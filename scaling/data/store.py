"""Windows of tokens for training and evaluation: from memory-mapped stores, or generated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from scaling.corpora.content import ExternalContent, GeneratedContent, StoredContent
from scaling.corpora.generated import GeneratedCorpus
from scaling.data.evaluation import places
from scaling.data.facts import StoreFacts
from scaling.data.gather import Text, map_tokens
from scaling.data.index import DataIndex
from scaling.data.order import mixture_at, sources_seen, subset, windows_of
from scaling.data.verify import check_files

CHECKED_BYTES = 1 << 30  # of a job's stores are hashed when it starts (about a second); sizes of all files


@dataclass(frozen=True)
class EvalWindows:
    """The fixed evaluation set of W windows.

    ``tokens`` int32 (W, context + 1): columns [:-1] are inputs, [1:] targets. ``weights`` float32
    (W, context): 1 where the target is text, 0 where it is padding. ``document`` int32 (W,): position in
    ``index.eval_documents``. ``bytes`` float64 (W,): bytes of text that the targets stand for; None where
    that is not known.
    """

    tokens: np.ndarray
    weights: np.ndarray
    document: np.ndarray
    bytes: np.ndarray | None


class Windows(ABC):
    """The data of an index, at hand. A batch is a pure function of (seed, step)."""

    index: DataIndex
    text: Text | None = None
    """The training tokens as :meth:`train_starts` counts them; None where nothing is stored."""

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
        windows = self.gather(starts.ravel())
        return windows.reshape(n_steps, batch_sequences, self.index.context + 1)

    def train_starts(self, seed: int, first_step: int, n_steps: int, batch_sequences: int) -> np.ndarray:
        """Return where the windows of :meth:`train_batches` start, int64 (n_steps, batch_sequences): what
        :meth:`gather` takes."""
        first, count = first_step * batch_sequences, n_steps * batch_sequences
        place = np.arange(first, first + count, dtype=np.uint64)
        return self._starts(seed, place).reshape(n_steps, batch_sequences)

    def seen(self, seed: int, windows: int) -> dict[str, int]:
        """Return how many of the first ``windows`` windows of a run come from each source."""
        quotas = [source.quota for source in self.index.sources]
        counts = sources_seen(seed, windows, quotas) if len(quotas) > 1 else [windows]
        return {source.name: int(n) for source, n in zip(self.index.sources, counts, strict=True)}

    @abstractmethod
    def _starts(self, seed: int, place: np.ndarray) -> np.ndarray:
        """Return where the windows at places of a run start: (n,) uint64 -> (n,) int64."""

    @abstractmethod
    def gather(self, starts: np.ndarray) -> np.ndarray:
        """Return the windows that start there, int32 (n, context + 1)."""

    @abstractmethod
    def eval_windows(self) -> EvalWindows:
        """Return what is evaluated."""


class StoredWindows(Windows):
    """Windows of stores, memory-mapped: many processes share one copy. ``text`` are the training tokens of
    all sources, one after the other."""

    def __init__(self, index: DataIndex):
        self.index = index
        stores = [source.facts for source in index.sources if source.facts is not None]
        paths = [of.folder / shard.name for of in stores for shard in of.shards]
        self.text = Text(map_tokens(paths, stores[0].tokenizer.dtype))
        self.firsts = np.cumsum([0, *(of.train_tokens for of in stores)])  # of each source

    def _starts(self, seed: int, place: np.ndarray) -> np.ndarray:
        sources = self.index.sources
        if len(sources) == 1:
            return self._within(0, seed, place)
        starts = np.empty(len(place), np.int64)
        source, rank = mixture_at(seed, place, [s.quota for s in sources])
        for number in range(len(sources)):
            of_source = source == number
            starts[of_source] = self._within(number, seed, rank[of_source])
        return starts

    def _within(self, number: int, seed: int, place: np.ndarray) -> np.ndarray:
        source = self.index.sources[number]
        window = subset(windows_of(seed, place, source.used), source.windows, source.used)
        return self.firsts[number] + window * self.index.context

    def gather(self, starts: np.ndarray) -> np.ndarray:
        assert self.text is not None
        return self.text.windows(starts, self.index.context + 1)

    def eval_windows(self) -> EvalWindows:
        names = {document.store for document in self.index.eval_documents}
        held_out = {name: _HeldOut.of(of) for name, of in self.index.stores.items() if name in names}
        return _eval_windows(self.index, held_out)


@dataclass(frozen=True)
class _HeldOut:
    """Held-out tokens of a store, and the bytes of text of each; None where that is not known."""

    tokens: np.ndarray
    bytes: np.ndarray | float | None

    @classmethod
    def of(cls, facts: StoreFacts) -> _HeldOut:
        assert facts.evaluation is not None, "a set is made of a store with held-out documents"
        [tokens] = map_tokens([facts.folder / facts.evaluation.name], facts.tokenizer.dtype)
        if facts.evaluation_bytes is None:
            return cls(tokens, facts.bytes_per_token)
        [sizes] = map_tokens([facts.folder / facts.evaluation_bytes.name], "uint32")
        return cls(tokens, sizes)


def _eval_windows(index: DataIndex, held_out: Mapping[str, _HeldOut]) -> EvalWindows:
    """Cut the windows of each document: ``context`` predicted tokens each, the last one padded."""
    context = index.context
    count = sum(document.windows_used for document in index.eval_documents)
    tokens = np.zeros((count, context + 1), np.int32)
    weights = np.zeros((count, context), np.float32)
    number = np.zeros(count, np.int32)
    size = np.full(count, np.nan)
    row = 0
    for position, document in enumerate(index.eval_documents):
        assert document.store is not None
        of = held_out[document.store]
        for place in places(-(-document.tokens // context), document.windows_used):
            length = min(context, document.tokens - place * context)
            start = document.start + place * context
            tokens[row, : length + 1] = of.tokens[start : start + length + 1]
            weights[row, :length] = 1
            number[row] = position
            match of.bytes:
                case np.ndarray() as sizes:
                    size[row] = sizes[start + 1 : start + length + 1].sum()
                case float() as per_token:
                    size[row] = per_token * length
                case None:
                    pass
            row += 1
    return EvalWindows(tokens, weights, number, None if np.isnan(size).any() else size)


class GeneratedWindows(Windows):
    """Windows of a source that generates them."""

    def __init__(self, index: DataIndex, corpus: GeneratedCorpus):
        self.index, self.corpus = index, corpus

    def _starts(self, seed: int, place: np.ndarray) -> np.ndarray:
        [source] = self.index.sources
        return subset(windows_of(seed, place, source.used), source.windows, source.used)

    def gather(self, starts: np.ndarray) -> np.ndarray:
        return self.corpus.training_windows(starts, self.index.context)

    def eval_windows(self) -> EvalWindows:
        documents = self.index.eval_documents
        count = sum(document.windows_used for document in documents)
        return EvalWindows(
            tokens=self.corpus.evaluation_windows(count, self.index.context),
            weights=np.ones((count, self.index.context), np.float32),
            document=np.repeat(np.arange(len(documents)), [d.windows_used for d in documents]).astype(
                np.int32
            ),
            bytes=None,
        )


def open_windows(index: DataIndex) -> Windows:
    """Open the data of ``index``; its stores are checked up to :data:`CHECKED_BYTES`.

    Raises:
        UserError: a file is not what it was when the index was written.
    """
    match index.content:
        case GeneratedContent(corpus=corpus):
            return GeneratedWindows(index, corpus)
        case StoredContent():
            left = CHECKED_BYTES
            for facts in index.stores.values():
                left -= check_files(facts, left)
            return StoredWindows(index)
        case ExternalContent():
            raise TypeError("the windows of external data are known to their own trainer alone")
