"""What the data of a plan are: sizes, evaluation windows and identity, from the indexes of prepared stores.

Answers without numpy once the stores exist, so that plans and specs are cheap to check.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from scaling.canonical import short_hash
from scaling.corpora.content import (
    BLOCK,
    HELD_OUT,
    Content,
    EvalSet,
    ExternalContent,
    GeneratedContent,
    StoredContent,
)
from scaling.corpora.generated import EVALUATION
from scaling.data.evaluation import allocate, predicted
from scaling.data.facts import StoreFacts, read_facts
from scaling.errors import Complaint, UserError
from scaling.run import Data, ExternalData
from scaling.tokenizers.base import TokenizerFacts

GENERATED_DOCUMENTS = 64  # groups of a generated source's evaluation windows, which give standard errors


@dataclass(frozen=True)
class EvalDocument:
    """A document held out whole, of the evaluation set ``set``.

    ``start`` is the place of its first window: in the held-out tokens of ``store``, or among the evaluation
    windows of a generated source, which has no store. ``tokens`` counts its text; ``windows_used`` of its
    windows predict ``tokens_used`` tokens.
    """

    name: str
    set: str
    target: bool
    store: str | None
    start: int
    tokens: int
    windows_used: int
    tokens_used: int


@dataclass(frozen=True)
class IndexedSource:
    """What training reads: ``used`` of ``windows`` of context tokens, ``quota`` of each BLOCK of windows.
    ``facts`` of its store; None for a generated source."""

    name: str
    facts: StoreFacts | None
    quota: int
    windows: int
    used: int


@dataclass(frozen=True)
class DataIndex:
    """The data of a study. ``stores`` by fingerprint: of training text, then those that are evaluation sets
    alone. ``floor`` is the true entropy of its windows in nats per token, where it is known."""

    content: Content
    context: int
    corpus: str
    tokenizer: TokenizerFacts
    fingerprint: str
    eval_id: str
    sources: tuple[IndexedSource, ...]
    eval_documents: tuple[EvalDocument, ...]
    stores: Mapping[str, StoreFacts]
    floor: float | None = None

    @property
    def vocab_size(self) -> int:
        return self.tokenizer.vocab_size

    @cached_property
    def train_windows(self) -> int:
        """All windows of ``context`` predicted tokens that training draws from."""
        return sum(source.used for source in self.sources)

    @property
    def tokens_once(self) -> int:
        """All tokens that training draws from, each counted once."""
        if isinstance(self.content, ExternalContent):  # which are not cut into windows here
            return self.content.tokens
        return self.train_windows * self.context

    @property
    def eval_tokens_used(self) -> int:
        return sum(document.tokens_used for document in self.eval_documents)

    @property
    def run_data(self) -> Data:
        """What identifies the data in a run of the built-in trainer."""
        unique, tokenizer = self.content.unique_tokens, self.tokenizer.name
        return Data(
            corpus=self.corpus, tokenizer=tokenizer, fingerprint=self.fingerprint, unique_tokens=unique
        )


def coverage(tokens_seen: int, index: DataIndex) -> tuple[int, float]:
    """Return (unique tokens, epochs) of a run that has predicted ``tokens_seen`` training tokens.

    In a mixture a source is repeated on its own; epochs are then of all sources together.
    """
    if isinstance(index.content, ExternalContent):
        return min(tokens_seen, index.tokens_once), tokens_seen / index.tokens_once
    seen = [min(tokens_seen * source.quota // BLOCK, source.used * index.context) for source in index.sources]
    return sum(seen), tokens_seen / index.tokens_once


def index_of(content: Content, context: int) -> DataIndex:
    """Index the data of a plan.

    Raises:
        UserError: a store is not there, its text is too short for the context, or there are fewer tokens than
            are to be used or evaluated. ``where`` is the path in a spec (``data.context``).
    """
    match content:
        case GeneratedContent():
            return _generated(content, context)
        case StoredContent():
            return _stored(content, context)
        case ExternalContent():
            return _external(content, context)


def _stored(content: StoredContent, context: int) -> DataIndex:
    names = dict.fromkeys(part.store for part in (*content.sources, *content.sets))
    facts = {name: read_facts(name) for name in names}
    first = facts[content.sources[0].store]
    single = len(content.sources) == 1
    documents = [document for part in content.sets for document in _evaluated(part, facts, context)]
    return DataIndex(
        content=content,
        context=context,
        corpus=first.corpus if single else "mixture",
        tokenizer=first.tokenizer,
        fingerprint=first.fingerprint if single else _mixture_fingerprint(content),
        eval_id=_eval_id(content, facts, context),
        sources=_sources(content, facts, context),
        eval_documents=tuple(documents),
        stores=facts,
    )


def _sources(content: StoredContent, facts: dict[str, StoreFacts], context: int) -> tuple[IndexedSource, ...]:
    indexed = list[IndexedSource]()
    for source in content.sources:
        of = facts[source.store]
        windows = (of.train_tokens - 1) // context
        if windows < 1:
            message = f"context = {context}: the training text has {of.train_tokens} tokens"
            raise UserError(Complaint(message, "data.context", "use a shorter context"))
        used = _unique_windows(content.unique_tokens, context, source.quota, windows)
        indexed.append(IndexedSource(source.name, of, source.quota, windows, used))
    return tuple(indexed)


def _unique_windows(unique_tokens: int | None, context: int, quota: int, windows: int) -> int:
    if unique_tokens is None:
        return windows
    used = unique_tokens * quota // (BLOCK * context)
    if 1 <= used <= windows:
        return used
    share = "" if quota == BLOCK else f" (share {quota / BLOCK:.2%} of a source)"
    message = f"unique_tokens = {unique_tokens}{share}: the training text has {windows * context} tokens"
    if not used:
        message = f"unique_tokens = {unique_tokens}{share}: less than one sequence of {context} tokens"
    hint = (
        f"at most {windows * context * BLOCK // quota}, at least {context * BLOCK // quota}; or leave it out"
    )
    raise UserError(Complaint(message, "data.unique_tokens", hint))


def _evaluated(part: EvalSet, facts: dict[str, StoreFacts], context: int) -> Iterator[EvalDocument]:
    """Take the first documents of a set that are enough, and spread its windows over them."""
    of = facts[part.store]
    chosen = of.evaluated(part.documents, part.tokens)
    targets = [of.targets(document) for document in chosen]
    tokens = sum(targets)
    if tokens < part.tokens or len(chosen) < part.documents:
        field = "tokens" if tokens < part.tokens else "documents"
        message = (
            f"{field} = {getattr(part, field)}: {part.name!r} has {tokens} tokens in {len(chosen)} documents"
        )
        raise UserError(
            Complaint(message, f"evaluation.{field}", "evaluate less, or hold out more (documents, share)")
        )
    used = allocate(targets, context, part.tokens)
    names = _distinct([document.name for document in chosen])
    for name, document, tokens, windows in zip(names, chosen, targets, used, strict=True):
        yield EvalDocument(
            name=name,
            set=part.name,
            target=part.target,
            store=part.store,
            start=document.start,
            tokens=tokens,
            windows_used=windows,
            tokens_used=predicted(tokens, context, windows),
        )


def _distinct(names: Sequence[str]) -> list[str]:
    """Number the second and later ones of documents of one name: losses are kept by name."""
    counts, distinct = Counter[str](), list[str]()
    for name in names:
        counts[name] += 1
        distinct.append(name if counts[name] == 1 else f"{name} #{counts[name]}")
    return distinct


def _mixture_fingerprint(content: StoredContent) -> str:
    sources = [[source.store, source.quota] for source in content.sources]
    return short_hash({"kind": "mixture", "sources": sources})


def _eval_id(content: StoredContent, facts: dict[str, StoreFacts], context: int) -> str:
    """Hash what is evaluated. One set that was spread over its corpus: by the size asked for, since the rest
    is in its store's fingerprint."""
    sets: Sequence[EvalSet] = content.sets
    if len(sets) == 1 and facts[sets[0].store].split["kind"] == "spread":
        tokens = sets[0].tokens
        return short_hash(
            {"kind": "eval", "fingerprint": sets[0].store, "context": context, "eval_tokens": tokens}
        )
    plain: list[dict[str, Any]] = [part.model_dump(mode="json") for part in sets]
    return short_hash({"kind": "eval", "context": context, "sets": plain})


def adds_to(index: DataIndex, eval_id: str, sets: Collection[str]) -> bool:
    """Tell whether what is evaluated only adds sets to the evaluation ``eval_id``, which had these ``sets``
    (none named: one)."""
    content = index.content
    if not isinstance(content, StoredContent) or eval_id == index.eval_id:
        return False
    named = [tuple(part for part in content.sets if part.name in sets)] if sets else []
    choices = named or [(part,) for part in content.sets]
    earlier = (content.model_copy(update={"sets": some}) for some in choices if some)
    return any(_eval_id(some, dict(index.stores), index.context) == eval_id for some in earlier)


def _generated(content: GeneratedContent, context: int) -> DataIndex:
    corpus = content.corpus
    identity = {"kind": "generated", **corpus.identity()}
    windows = -(-content.tokens // context)
    groups = min(GENERATED_DOCUMENTS, windows)
    borders = [i * windows // groups for i in range(groups + 1)]
    documents = [
        EvalDocument(f"windows-{a}", HELD_OUT, True, None, a, (b - a) * context, b - a, (b - a) * context)
        for a, b in pairwise(borders)
    ]
    used = _unique_windows(content.unique_tokens, context, BLOCK, EVALUATION)
    return DataIndex(
        content=content,
        context=context,
        corpus=corpus.kind,
        tokenizer=corpus.facts(),
        fingerprint=short_hash(identity),
        eval_id=short_hash({"kind": "eval", "context": context, "tokens": content.tokens, "of": identity}),
        sources=(IndexedSource(corpus.kind, None, BLOCK, EVALUATION, used),),
        eval_documents=tuple(documents),
        stores={},
        floor=corpus.entropy(context),
    )


def _external(content: ExternalContent, context: int) -> DataIndex:
    data, windows = external_data(content), max(1, content.tokens // context)
    name = content.name or "external"
    return DataIndex(
        content=content,
        context=context,
        corpus=name,
        tokenizer=TokenizerFacts(name="external", vocab_size=0, separator=None, dtype="uint32"),
        fingerprint=data.fingerprint,
        eval_id=short_hash({"kind": "eval", "external": data.fingerprint, "context": context}),
        sources=(IndexedSource(name, None, BLOCK, windows, windows),),
        eval_documents=(),
        stores={},
    )


def external_data(content: Content) -> ExternalData:
    """Return what identifies the data in a run of somebody's own trainer."""
    assert isinstance(content, ExternalContent), "it reads no data of ours"
    return ExternalData(tokens=content.tokens, name=content.name)
