"""What the evaluated documents of one store share with the training text of another.

Evaluation sets have stores of their own, and a mixture has several: their texts are compared as the stores
hold them, decoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from scaling.data.candidates import Content
from scaling.data.facts import Overlap, Shard, StoreFacts
from scaling.data.gather import map_tokens
from scaling.data.overlap import NGrams
from scaling.data.processes import shared_out
from scaling.data.progress import Meter, Report, quiet
from scaling.data.request import documents_name, find_overlap, overlap_path
from scaling.data.shards import BATCH_BYTES, EVAL_TOKENS, ngrams, open_coder
from scaling.files import write_json
from scaling.tokenizers.base import Coder


def measure_overlap(
    evaluated: StoreFacts,
    training: StoreFacts,
    documents: int | None = None,
    processes: int = 1,
    report: Report = quiet,
) -> Overlap:
    """Return what held-out documents of a store share with the training text of another; it is kept.

    Args:
        evaluated: the store with the held-out documents.
        training: the other one, or the same. They are compared as text where both have text, else as tokens.
        documents: how many are compared, the first of them; None for all that are stored.
        processes: how many share the work.
        report: is told how far it is.
    """
    if (known := find_overlap(evaluated, training, documents)) is not None:
        return known
    text = training.coder is not None and evaluated.coder is not None
    coder = open_coder(evaluated) if text else None
    [tokens] = map_tokens([evaluated.folder / EVAL_TOKENS], evaluated.tokenizer.dtype)
    skipped = int(evaluated.tokenizer.separator is not None)
    compared = evaluated.held_out[:documents]
    starts = [document.start + skipped for document in compared]
    ends = [start + document.tokens for start, document in zip(starts, compared, strict=True)]
    texts = [_decoded(coder, tokens[a:b]) for a, b in zip(starts, ends, strict=True)]
    looked_for = np.unique(np.concatenate([ngrams([text]) for text in texts]))
    shared = np.zeros(len(looked_for), bool)
    meter = Meter(report, "comparing", sum(shard.tokens for shard in training.shards))
    tasks = [_Task(training, shard, text, looked_for) for shard in training.shards]
    for shard, found in shared_out(_shared, tasks, processes):
        shared |= found
        meter.add(shard.tokens)
    overlap = Overlap(
        ngrams=len(looked_for),
        shared_ngrams=int(shared.sum()),
        documents=None if compared == evaluated.held_out else len(compared),
    )
    write_json(overlap_path(evaluated, training, len(compared)), overlap.model_dump(mode="json"))
    return overlap


@dataclass(frozen=True)
class _Task:
    training: StoreFacts
    shard: Shard
    text: bool
    looked_for: np.ndarray


def _shared(task: _Task) -> tuple[Shard, np.ndarray]:
    looked_for = NGrams.of(task.looked_for)
    shared = np.zeros(len(looked_for), bool)
    for texts in _batches(task):
        shared |= looked_for.shared(ngrams(texts))
    return task.shard, shared


def _batches(task: _Task) -> Iterator[list[Content]]:
    """Yield the documents of a shard, about ``BATCH_BYTES`` tokens at a time."""
    facts, shard = task.training, task.shard
    coder = open_coder(facts) if task.text else None
    [tokens] = map_tokens([facts.folder / shard.name], facts.tokenizer.dtype)
    starts = np.fromfile(facts.folder / documents_name(shard.name), "<u8").tolist()
    skipped, texts, size = int(facts.tokenizer.separator is not None), list[Content](), 0
    for start, end in zip(starts, [*starts[1:], len(tokens)], strict=True):
        texts.append(_decoded(coder, tokens[start + skipped : end]))
        size += end - start
        if size >= BATCH_BYTES:
            yield texts
            texts, size = [], 0
    if texts:
        yield texts


def _decoded(coder: Coder | None, tokens: np.ndarray) -> Content:
    return tokens if coder is None else coder.decode(tokens).encode("utf-8")
