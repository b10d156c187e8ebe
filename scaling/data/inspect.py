"""What is in a prepared store: lengths, repetitions, scripts, samples.

Every training token is read once, about 30 MB/s. Memory does not grow with the corpus: repetitions are
counted among a sample of the values that there are, 2^-k of them, with all places of each.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from scaling.data.facts import Shard, StoreFacts
from scaling.data.gather import Text, map_tokens
from scaling.data.order import windows_at
from scaling.data.overlap import ngrams_of_text, ngrams_of_tokens, windows_within
from scaling.data.progress import Meter, Report, quiet
from scaling.data.request import documents_name
from scaling.data.shards import open_coder
from scaling.tokenizers.base import Coder

if TYPE_CHECKING:
    from scaling.data.store import Windows

QUANTILES = {"min": 0.0, "p1": 0.01, "p10": 0.1, "p50": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
MOST_VALUES = 1 << 20  # distinct ones that repetitions are counted of
BATCH_TOKENS = 1 << 20  # whose n-grams are hashed at a time
SCRIPT_DOCUMENTS, SCRIPT_TOKENS = 512, 2048  # of each: the sample whose characters are counted
NAMED = (  # scripts whose letters' Unicode names begin with their own
    "Latin Greek Cyrillic Armenian Georgian Hebrew Arabic Syriac Ethiopic Devanagari Bengali Gurmukhi "
    "Gujarati Oriya Tamil Telugu Kannada Malayalam Sinhala Thai Lao Tibetan Myanmar Khmer Mongolian Hangul"
)
SCRIPTS = {name.upper(): name for name in NAMED.split()} | dict(CJK="Han", HIRAGANA="Kana", KATAKANA="Kana")


class Repeats:
    """How many of many values are repetitions, from those among ``most`` distinct ones of least hash."""

    def __init__(self, most: int = MOST_VALUES):
        self.most, self.halvings = most, 0
        self.values, self.counts = np.zeros(0, np.uint64), np.zeros(0, np.int64)

    def add(self, hashes: np.ndarray) -> None:
        """Count hashes, uint64 (n,), uniform over all 64 bits."""
        fresh, counts = np.unique(self._sampled(hashes), return_counts=True)
        self.values, place = np.unique(np.concatenate([self.values, fresh]), return_inverse=True)
        every = np.concatenate([self.counts, counts])
        self.counts = np.bincount(place, weights=every, minlength=len(self.values)).astype(np.int64)
        while len(self.values) > self.most:
            self.halvings += 1
            kept = self._within(self.values)
            self.values, self.counts = self.values[kept], self.counts[kept]

    def _within(self, hashes: np.ndarray) -> np.ndarray:
        return hashes >> np.uint64(64 - self.halvings) == 0

    def _sampled(self, hashes: np.ndarray) -> np.ndarray:
        return hashes[self._within(hashes)] if self.halvings else hashes

    @property
    def share(self) -> float:
        """The share of values that had occurred before."""
        total = int(self.counts.sum())
        return 1 - len(self.values) / total if total else 0.0

    @property
    def sampled(self) -> float:
        """The share of all distinct values that were counted."""
        return 2.0**-self.halvings


@dataclass(frozen=True)
class Repeated:
    """``share`` of ``of`` (``documents``, ``13-grams of words``) that had occurred before; counted among
    ``sampled`` of all distinct ones."""

    of: str
    share: float
    sampled: float


@dataclass(frozen=True)
class StoreReport:
    """What :func:`inspect_store` finds in the training text of a store.

    ``lengths`` are quantiles of documents' lengths in tokens, without separators. ``scripts`` are shares of
    the characters of a sample of ``script_characters``; None where the tokens came without a tokenizer.
    """

    facts: StoreFacts
    lengths: dict[str, int]
    documents_repeated: Repeated
    ngrams_repeated: Repeated
    scripts: dict[str, float] | None
    script_characters: int

    def to_json(self) -> dict[str, Any]:
        own = {name: value for name, value in asdict(self).items() if name != "facts"}
        return {"index": self.facts.model_dump(mode="json", by_alias=True), **own}


def inspect_store(facts: StoreFacts, report: Report = quiet) -> StoreReport:
    """Read the training text of a store.

    Raises:
        UserError: its tokenizer cannot be opened.
        OSError: a file of it cannot be read.
    """
    coder = open_coder(facts)
    words = facts.coder == {"kind": "bytes"}
    lengths, documents, ngrams = Counter[int](), Repeats(), Repeats()
    characters = Counter[str]()
    meter = Meter(report, "reading", sum(shard.tokens for shard in facts.shards))
    every = max(1, facts.train_documents // SCRIPT_DOCUMENTS)
    seen = 0
    for shard in facts.shards:
        for batch in _batches(facts, shard):
            lengths.update(map(len, batch))
            documents.add(np.array([_digest(document) for document in batch], np.uint64))
            texts: Any = [document.tobytes() for document in batch] if words else batch
            ngrams.add(ngrams_of_text(*texts) if words else ngrams_of_tokens(*texts))
            for document in batch[-seen % every :: every]:
                characters.update(coder.decode(document[:SCRIPT_TOKENS]) if coder else "")
            seen += len(batch)
            meter.add(sum(map(len, batch)))
    return StoreReport(
        facts=facts,
        lengths=quantiles(lengths),
        documents_repeated=Repeated("documents", documents.share, documents.sampled),
        ngrams_repeated=Repeated(
            f"13-grams of {'words' if words else 'tokens'}", ngrams.share, ngrams.sampled
        ),
        scripts=scripts(characters) if coder else None,
        script_characters=characters.total(),
    )


def first_windows(facts: StoreFacts, context: int, count: int) -> np.ndarray:
    """Return the first windows that a run of seed 0 on one store trains on, int32 (n, context + 1): at most
    ``count``, as far as its text goes."""
    text = Text(map_tokens([facts.folder / shard.name for shard in facts.shards], facts.tokenizer.dtype))
    windows = (text.tokens - 1) // context
    return text.windows(windows_at(0, 0, min(count, windows), max(1, windows)) * context, context + 1)


def copied_windows(data: Windows, text: Text) -> tuple[int, int]:
    """Return how many of the windows that are scored occur verbatim in the training ``text``, and how many of
    them are whole; those that are padded are not looked for."""
    evaluated = data.eval_windows()
    whole = evaluated.tokens[evaluated.weights.all(axis=1)]
    copied = np.zeros(len(whole), bool)
    for shard in text.shards:
        copied |= windows_within(whole, shard)
    return int(copied.sum()), len(whole)


def window_text(tokens: np.ndarray, coder: Coder, separator: int | None) -> list[str]:
    """Return the text of a window, for people to read: of each document in it."""
    if separator is None:
        return [coder.decode(tokens)]
    parts = np.split(tokens, np.flatnonzero(tokens == separator))
    return [coder.decode(part[part != separator]) for part in parts if len(part)]


def quantiles(counts: Counter[int]) -> dict[str, int]:
    """Return :data:`QUANTILES` of counted lengths."""
    values = np.array(sorted(counts), np.int64)
    upto = np.cumsum([counts[value] for value in values.tolist()])
    if not len(values):
        return {}
    places = [np.searchsorted(upto, max(1, np.ceil(q * upto[-1]))) for q in QUANTILES.values()]
    return {name: int(values[place]) for name, place in zip(QUANTILES, places, strict=True)}


def scripts(characters: Counter[str]) -> dict[str, float]:
    """Return the share of characters by script of letters, digits, signs and blanks; the largest first."""
    kinds = Counter[str]()
    for character, count in characters.items():
        kinds[_script(character)] += count
    return {name: count / characters.total() for name, count in kinds.most_common()}


def _script(character: str) -> str:
    """Name the script of a letter by how its Unicode name begins: LATIN SMALL LETTER A."""
    match unicodedata.category(character)[0]:
        case "L" | "M":
            return SCRIPTS.get(unicodedata.name(character, "?").split()[0], "other letters")
        case "N":
            return "digits"
        case "P" | "S":
            return "signs"
        case _:
            return "blanks"


def _batches(facts: StoreFacts, shard: Shard) -> Iterator[Sequence[np.ndarray]]:
    """Yield the documents of a shard, without separators, about :data:`BATCH_TOKENS` at a time."""
    [tokens] = map_tokens([facts.folder / shard.name], facts.tokenizer.dtype)
    starts = np.fromfile(facts.folder / documents_name(shard.name), "<u8").astype(np.int64)
    firsts, ends = starts + (facts.tokenizer.separator is not None), np.append(starts[1:], shard.tokens)
    borders = np.searchsorted(ends, np.arange(BATCH_TOKENS, shard.tokens, BATCH_TOKENS))
    for some in np.split(np.arange(len(starts)), np.unique(borders)):
        if len(some):
            base = int(starts[some[0]])
            block = np.asarray(tokens[base : int(ends[some[-1]])])
            spans = zip((firsts[some] - base).tolist(), (ends[some] - base).tolist(), strict=True)
            yield [block[first:end] for first, end in spans]


def _digest(tokens: np.ndarray) -> int:
    return int.from_bytes(blake2b(tokens.tobytes(), digest_size=8).digest(), "big")
