"""What ``scaling data prepare`` and ``scaling data inspect`` print."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from scaling.cli.words import count
from scaling.counts.memory import size
from scaling.data.facts import StoreFacts
from scaling.data.index import DataIndex
from scaling.data.inspect import (
    Repeated,
    StoreReport,
    copied_windows,
    first_windows,
    window_text,
)
from scaling.data.shards import open_coder
from scaling.data.store import open_windows
from scaling.errors import plural

SHOWN_WINDOWS = 4
CONTEXT = 128  # of the windows shown of a store, which has none of its own
WIDTH = 110
SEPARATOR = " ‖ "
UNUSUAL = {
    "empty": "empty documents, left out",
    "invalid_utf8": "documents with bytes that are not UTF-8, replaced by U+FFFD",
    "nul": "documents with NUL bytes, replaced by U+FFFD",
}


@dataclass(frozen=True)
class Batch:
    """The beginning of training: windows as texts of the documents in them, or as numbers where there is no
    tokenizer. ``copied`` of ``whole`` scored windows occur verbatim in the training text; None for a store,
    which says nothing of windows."""

    windows: list[list[str]] | list[list[int]]
    copied: int | None = None
    whole: int | None = None
    entropy: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def batch_of_study(index: DataIndex) -> Batch:
    """Read the first windows of seed 0, and look for the scored ones in the training text."""
    data = open_windows(index)
    windows = data.train_batches(0, 0, 1, SHOWN_WINDOWS)[0]
    if data.text is None:
        return Batch(windows.tolist(), entropy=index.floor)
    copied, whole = copied_windows(data, data.text)
    facts = index.sources[0].facts
    assert facts is not None
    return Batch(_readable(facts, windows), copied, whole)


def batch_of_store(facts: StoreFacts) -> Batch:
    """Read the first windows that a study with seed 0 on this store alone would."""
    return Batch(_readable(facts, first_windows(facts, CONTEXT, SHOWN_WINDOWS)) if facts.shards else [])


def _readable(facts: StoreFacts, windows: Any) -> list[list[str]] | list[list[int]]:
    coder = open_coder(facts)
    if coder is None:
        return windows.tolist()
    return [window_text(window, coder, facts.tokenizer.separator) for window in windows]


def prepared_text(facts: StoreFacts) -> str:
    """Say what a store holds."""
    return "\n".join([f"store {facts.fingerprint} in {facts.folder}", _table(_sizes(facts))])


def inspection_text(reports: Sequence[StoreReport], batch: Batch) -> str:
    """Say what was found in stores, and show the batch."""
    parts = [f"store {r.facts.fingerprint}\n{_table([*_sizes(r.facts), *_findings(r)])}" for r in reports]
    if batch.entropy is not None:
        parts.append(f"entropy rate {batch.entropy:.4f} nats per token")
    if batch.copied is not None:
        scored = f"{batch.copied:,} of {plural(batch.whole or 0, 'scored window')}"
        parts.append(f"{scored} occur verbatim in the training text")
    if batch.windows:
        shown = "\n".join(map(_window, batch.windows))
        parts.append(f"the first windows that seed 0 trains on (‖ between documents)\n{shown}")
    return "\n\n".join(parts)


def _window(window: Sequence[str] | Sequence[int]) -> str:
    text = SEPARATOR.join(map(str, window)) if isinstance(window[0], str) else " ".join(map(str, window))
    plain = "".join(sign if sign.isprintable() else " " for sign in text)
    return textwrap.fill(plain, WIDTH, initial_indent="  | ", subsequent_indent="  | ")


def _table(rows: Sequence[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:<{width}}  {text}" for name, text in rows)


def _sizes(facts: StoreFacts) -> list[tuple[str, str]]:
    of = "" if facts.bytes is None else f", {size(facts.bytes)} of text"
    rows = [("corpus", f"{facts.corpus}: {plural(facts.documents, 'document')}{of}")]
    per_token = "" if facts.bytes_per_token is None else f", {facts.bytes_per_token:.3g} bytes a token"
    vocabulary = f"{facts.tokenizer.name}, a vocabulary of {facts.tokenizer.vocab_size:,}{per_token}"
    rows.append(("tokenizer", vocabulary))
    separators = f", {facts.separators:,} of them separators" if facts.separators else ""
    training = (
        f"{count(facts.train_tokens)} tokens of {plural(facts.train_documents, 'document')}{separators}"
    )
    rows.append(("training", training))
    if facts.held_out_documents:
        share = facts.split.get("share")
        how = f"{facts.split['kind']}" + (f", share {share:.3g}" if isinstance(share, float) else "")
        stored = count(sum(document.tokens for document in facts.held_out))
        rows.append(
            ("held out", f"{plural(facts.held_out_documents, 'document')} ({how}), {stored} tokens stored")
        )
    if facts.overlap is not None:
        shared = f"{facts.overlap.shared_ngrams:,} of {plural(facts.overlap.ngrams, '13-gram')}"
        rows.append(
            ("overlap", f"{shared} held out occur in the training text too ({facts.overlap.share:.2%})")
        )
    if facts.tally:
        rows.append(
            ("unusual", ", ".join(f"{n:,} {UNUSUAL.get(name, name)}" for name, n in facts.tally.items()))
        )
    return rows


def _findings(report: StoreReport) -> list[tuple[str, str]]:
    if not report.facts.train_documents:
        return []
    names = {
        "min": "least",
        "p1": "1 %",
        "p10": "10 %",
        "p50": "median",
        "p90": "90 %",
        "p99": "99 %",
        "max": "most",
    }
    lengths = ", ".join(f"{names[name]} {length:,}" for name, length in report.lengths.items())
    rows = [("lengths", f"in tokens: {lengths}")]
    rows += [("repeated", _repeated(of)) for of in (report.documents_repeated, report.ngrams_repeated)]
    if report.scripts is not None:
        shares = ", ".join(f"{name} {share:.1%}" for name, share in report.scripts.items() if share >= 0.0005)
        rows.append(("characters", f"{shares} (of {count(report.script_characters)} sampled)"))
    return rows


def _repeated(of: Repeated) -> str:
    sample = "" if of.sampled == 1 else f" (by 1 in {1 / of.sampled:.0f} of all distinct ones)"
    return f"{of.share:.2%} of {of.of} had occurred before{sample}"
