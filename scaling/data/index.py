"""What the data are: sizes, split and identity of a token store, which is built here if it is missing.

Answers without numpy once the store exists, so that plans and specs are cheap to check.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from scaling.data.catalog import CORPORA, TOKENIZERS, Corpus, Tokenizer
from scaling.data.evaluation import allocate, predicted
from scaling.errors import Complaint, UserError
from scaling.files import cache_dir, lock

# Raised when the same request would give other tokens or another split: it is part of fingerprints.
FORMAT = 1
BUILD_SECONDS = 600.0  # to wait for another process that builds


@dataclass(frozen=True)
class EvalDocument:
    """A document held out whole. ``start`` is the place of its separator in the store, in tokens;
    ``tokens`` counts its text; ``windows_used`` of its windows predict ``tokens_used`` tokens."""

    name: str
    year: int
    bytes: int
    start: int
    tokens: int
    windows_used: int
    tokens_used: int


@dataclass(frozen=True)
class DataIndex:
    """A token store and its identity. ``train_tokens`` counts separators, ``train_windows`` are windows of
    ``context`` predicted tokens, ``bytes_per_token`` is taken over the held-out documents."""

    corpus: str
    tokenizer: str
    context: int
    fingerprint: str
    eval_id: str
    vocab_size: int
    dtype: str
    tokens: int
    train_tokens: int
    train_windows: int
    eval_documents: tuple[EvalDocument, ...]
    eval_tokens_used: int
    bytes_per_token: float
    path: Path


def resolve(corpus: str, tokenizer: str, context: int, eval_documents: int, eval_tokens: int) -> DataIndex:
    """Index a corpus; its token store is built if it is missing or damaged (some CPU seconds, once).

    Args:
        corpus: its name.
        tokenizer: its name.
        context: tokens of a window, at least 1, as are the numbers below.
        eval_documents: how many documents are held out whole.
        eval_tokens: how many of their tokens are evaluated, or the few more that whole windows give.

    Raises:
        UserError: unknown corpus or tokenizer, a size beyond what the corpus has, a cache folder that cannot
            be written. ``where`` is the path in a spec (``data.corpus``).
    """
    if problems := [*_unknown("corpus", corpus, CORPORA), *_unknown("tokenizer", tokenizer, TOKENIZERS)]:
        raise UserError(*problems)
    source, coder = CORPORA[corpus], TOKENIZERS[tokenizer]
    fingerprint = _fingerprint(source, coder, eval_documents)
    stem = cache_dir() / "data" / f"{fingerprint}-{corpus}-{tokenizer}"
    facts = _facts(stem, source, coder, eval_documents)
    if context >= facts["train_tokens"]:
        message = f"context = {context}: the training text has {facts['train_tokens']} tokens"
        raise UserError(Complaint(message, where="data.context", hint="use a shorter context"))
    documents = _evaluation(facts["eval_documents"], context, eval_tokens)
    held_out = facts["eval_documents"]
    return DataIndex(
        corpus=corpus,
        tokenizer=tokenizer,
        context=context,
        fingerprint=fingerprint,
        eval_id=_hash(
            {"kind": "eval", "fingerprint": fingerprint, "context": context, "eval_tokens": eval_tokens}
        ),
        vocab_size=coder.vocab_size,
        dtype=coder.dtype,
        tokens=facts["tokens"],
        train_tokens=facts["train_tokens"],
        train_windows=(facts["train_tokens"] - 1) // context,
        eval_documents=documents,
        eval_tokens_used=sum(document.tokens_used for document in documents),
        bytes_per_token=sum(d["bytes"] for d in held_out) / sum(d["tokens"] for d in held_out),
        path=stem.with_name(stem.name + ".tokens"),
    )


def coverage(tokens_seen: int, index: DataIndex) -> tuple[int, float]:
    """Return (unique tokens, epochs) of a run that has predicted ``tokens_seen`` training tokens."""
    epoch = index.train_windows * index.context
    return min(tokens_seen, epoch), tokens_seen / epoch


def _unknown(field: str, value: str, known: Iterable[str]) -> list[Complaint]:
    if value in known:
        return []
    close = difflib.get_close_matches(str(value), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known))}"
    return [Complaint(f"{field} = {value!r}: no such {field}", where=f"data.{field}", hint=hint)]


def _hash(value: dict[str, Any]) -> str:
    return sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:12]


def _fingerprint(corpus: Corpus, tokenizer: Tokenizer, eval_documents: int) -> str:
    """Cover which documents are held out through the rule (FORMAT) and their number: the rule is fixed."""
    return _hash(
        {
            "kind": "corpus",
            "format": FORMAT,
            "text_sha256": corpus.text_sha256,
            "tokenizer": tokenizer.name,
            "eval_documents": eval_documents,
        }
    )


def _facts(stem: Path, corpus: Corpus, tokenizer: Tokenizer, eval_documents: int) -> dict[str, Any]:
    """Return the facts beside a sound store, built first if need be."""
    try:
        if (facts := _sound(stem)) is not None:
            return facts
        from scaling.data.build import build_store  # numpy: only when there is work to do

        stem.parent.mkdir(parents=True, exist_ok=True)
        with lock(
            stem.with_name(stem.name + ".lock"), BUILD_SECONDS
        ):  # saves work: renames keep readers safe
            if (facts := _sound(stem)) is None:  # another process may have built it meanwhile
                build_store(stem, corpus, tokenizer, eval_documents)
                facts = _sound(stem)
        if facts is None:
            raise OSError("it is corrupt right after writing")
        return facts
    except OSError as error:
        message = f"cannot keep the token store in {stem.parent}: {error.strerror or error}"
        hint = "set SCALING_CACHE to a folder that you can write, on a sound disk"
        raise UserError(Complaint(message, where="SCALING_CACHE", hint=hint)) from error


def _sound(stem: Path) -> dict[str, Any] | None:
    """Return the facts if the store is whole (its sha256 is checked: about 10 ms for 10 MB), else None."""
    try:
        facts = json.loads(stem.with_name(stem.name + ".json").read_bytes())
        tokens = stem.with_name(stem.name + ".tokens").read_bytes()
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    whole = isinstance(facts, dict) and facts.get("tokens_sha256") == sha256(tokens).hexdigest()
    return facts if whole else None


def _evaluation(documents: list[dict[str, Any]], context: int, eval_tokens: int) -> tuple[EvalDocument, ...]:
    sizes = [document["tokens"] for document in documents]
    if eval_tokens > sum(sizes):
        message = f"eval_tokens = {eval_tokens}: the {len(sizes)} held-out documents have {sum(sizes)} tokens"
        raise UserError(
            Complaint(message, where="data.eval_tokens", hint="evaluate fewer tokens or raise eval_documents")
        )
    used = allocate(sizes, context, eval_tokens)
    return tuple(
        EvalDocument(**d, windows_used=k, tokens_used=predicted(d["tokens"], context, k))
        for d, k in zip(documents, used, strict=True)
    )
