"""What a spec says of data -> the content of a plan: stores are found, or prepared where they are missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from scaling.corpora.base import DocumentCorpus
from scaling.corpora.content import HELD_OUT, Content, EvalSet, GeneratedContent, StoredContent, StoredSource
from scaling.corpora.evaluation import Evaluation
from scaling.corpora.kinds import AnyCorpus
from scaling.corpora.mixture import Mixture
from scaling.corpora.quotas import BLOCK
from scaling.corpora.shipped import Shipped
from scaling.data.facts import Overlap, StoreFacts
from scaling.data.index import DataIndex, index_of
from scaling.data.request import Request, find_overlap
from scaling.errors import Complaint, UserError
from scaling.tokenizers.base import TextTokenizer
from scaling.tokenizers.kinds import Bytes

Prepare = Callable[[Request], StoreFacts]
Split = Literal["hash", "spread", "none", "all"]


@dataclass(frozen=True)
class Wish:
    """What a spec says of its data. ``folder`` is what paths are relative to."""

    corpus: AnyCorpus
    tokenizer: TextTokenizer | None
    evaluation: Evaluation
    unique_tokens: int | None = None
    folder: Path = field(default_factory=Path)


def resolve(wish: Wish, context: int, prepare: Prepare) -> DataIndex:
    """Index the data of a spec; see :func:`content_of` and :func:`scaling.data.index.index_of`."""
    return index_of(content_of(wish, prepare), context)


def content_of(wish: Wish, prepare: Prepare) -> Content:
    """Return the data in numbers; ``prepare`` finds the store of a request or makes it.

    Raises:
        UserError: what ``prepare`` raises, and text shared by training and evaluation above what is allowed.
            ``where`` is the path in a spec.
    """
    match wish.corpus:
        case Mixture():
            return _mixture(wish, wish.corpus, prepare)
        case DocumentCorpus():
            request = _request(wish, wish.corpus, None, None)
            facts = _store(wish, request, "data.corpus", prepare)
            source = StoredSource(name=HELD_OUT, store=facts.fingerprint)
            sets = () if wish.evaluation.split == "none" else (_held_out(wish, HELD_OUT, facts, BLOCK),)
            return _stored(wish, (source,), (*sets, *_own_sets(wish, [facts], prepare)))
        case generated:
            return GeneratedContent(
                kind="generated",
                corpus=generated,
                tokens=wish.evaluation.tokens,
                unique_tokens=wish.unique_tokens,
            )


def _stored(wish: Wish, sources: tuple[StoredSource, ...], sets: tuple[EvalSet, ...]) -> StoredContent:
    return StoredContent(kind="stored", sources=sources, sets=sets, unique_tokens=wish.unique_tokens)


def _mixture(wish: Wish, mixture: Mixture, prepare: Prepare) -> StoredContent:
    """Prepare every source; a tokenizer that is trained is trained on the heaviest."""
    quotas = mixture.quotas
    heaviest = max(quotas, key=lambda name: quotas[name])
    requests, facts = dict[str, Request](), dict[str, StoreFacts]()
    tokenizer_of = None
    for name in sorted(quotas, key=lambda name: name != heaviest):
        requests[name] = _request(wish, mixture.sources[name].corpus, None, tokenizer_of)
        facts[name] = _store(wish, requests[name], _place(name), prepare)
        tokenizer_of = tokenizer_of or facts[name].fingerprint
    _require_one_tokenizer(facts)
    sources = tuple(StoredSource(name=n, store=facts[n].fingerprint, quota=q) for n, q in quotas.items())
    held_out = tuple(_held_out(wish, name, facts[name], quotas[name]) for name in quotas)
    sets = () if wish.evaluation.split == "none" else held_out
    for name in quotas if sets else ():
        others = [facts[other] for other in quotas if other != name]
        _compared(wish, requests[name], _place(name), others, prepare)
    return _stored(wish, sources, (*sets, *_own_sets(wish, [*facts.values()], prepare)))


def _place(source: str) -> str:
    return f"data.corpus.sources.{source}.corpus"


def _require_one_tokenizer(facts: dict[str, StoreFacts]) -> None:
    names = {(of.tokenizer.name, of.tokenizer.sha256, of.tokenizer.vocab_size) for of in facts.values()}
    if len(names) > 1:
        listed = ", ".join(f"{name}: {of.tokenizer.name}" for name, of in facts.items())
        message = f"the sources have different tokenizers ({listed})"
        raise UserError(Complaint(message, "data.corpus", "give all of them the tokens of one tokenizer"))


def _store(wish: Wish, request: Request, where: str, prepare: Prepare) -> StoreFacts:
    """Find or make the store of training text, and refuse one that shares too much with what is evaluated.

    Args:
        wish: what the spec says.
        request: of the text, all of it or one source.
        where: its path in the spec.
        prepare: finds or makes a store.
    """
    facts = _located(request, where, prepare)
    _require_little(facts.overlap, wish, where)
    return facts


def _compared(
    wish: Wish, request: Request, where: str, training: Sequence[StoreFacts], prepare: Prepare
) -> StoreFacts:
    """Return the store of a request, and refuse one whose evaluated text others train on.

    Args:
        wish: what the spec says.
        request: of the evaluated text.
        where: its path in the spec.
        training: the stores of training text that it was not held out of.
        prepare: finds or makes a store.
    """
    against = tuple(facts.fingerprint for facts in training)
    facts = _located(request.model_copy(update={"against": against}), where, prepare)
    for fingerprint in against:
        _require_little(find_overlap(facts.fingerprint, fingerprint), wish, where)
    return facts


def _require_little(overlap: Overlap | None, wish: Wish, where: str) -> None:
    most = wish.evaluation.overlap
    if overlap is not None and overlap.share > most:
        message = (
            f"{overlap.share:.1%} of the 13-grams of the evaluated text occur in the training text too, "
            f"more than evaluation.overlap = {most:.1%}"
        )
        hint = "remove near-duplicates from the corpus, or allow more with evaluation.overlap"
        raise UserError(Complaint(message, where, hint))


def _request(
    wish: Wish, corpus: DocumentCorpus, split: Literal["all"] | None, tokenizer_of: str | None
) -> Request:
    """Ask for a corpus; ``split`` None: as the spec says."""
    evaluation = wish.evaluation
    usual: Split = "spread" if isinstance(corpus, Shipped) else "hash"
    return Request(
        corpus=corpus,
        label=corpus.name if isinstance(corpus, Shipped) else corpus.kind,
        tokenizer=None if corpus.tokenised else wish.tokenizer or Bytes(),
        tokenizer_of=tokenizer_of,
        split=split or (usual if evaluation.split == "auto" else evaluation.split),
        share=evaluation.share,
        documents=evaluation.documents,
        tokens=evaluation.tokens,
        folder=wish.folder,
    )


def _located(request: Request, where: str, prepare: Prepare) -> StoreFacts:
    """Prepare; problems of the corpus' own fields are given their place in the spec."""
    try:
        return prepare(request)
    except UserError as error:
        fields = type(request.corpus).model_fields
        problems = [
            Complaint(p.message, f"{where}.{p.where}", p.hint, p.value) if p.where in fields else p
            for p in error.problems
        ]
        raise UserError(*problems) from None


def _held_out(wish: Wish, name: str, facts: StoreFacts, quota: int) -> EvalSet:
    """Evaluate a source's own held-out text, with its share of the tokens."""
    evaluation = wish.evaluation
    return EvalSet(
        name=name,
        store=facts.fingerprint,
        documents=evaluation.documents if quota == BLOCK else 1,
        tokens=max(1, evaluation.tokens * quota // BLOCK),
        target=evaluation.target == HELD_OUT,
    )


def _own_sets(wish: Wish, training: Sequence[StoreFacts], prepare: Prepare) -> tuple[EvalSet, ...]:
    """Prepare evaluation texts of their own, cut by the tokenizer of the first training text; each is
    evaluated as far as it goes."""
    sets = list[EvalSet]()
    for name, corpus in wish.evaluation.sets.items():
        request = _request(wish, corpus, "all", training[0].fingerprint)
        facts = _compared(wish, request, f"evaluation.sets.{name}", training, prepare)
        available = sum(document.tokens for document in facts.held_out)
        sets.append(
            EvalSet(
                name=name,
                store=facts.fingerprint,
                documents=min(wish.evaluation.documents, len(facts.held_out)),
                tokens=min(wish.evaluation.tokens, available),
                target=wish.evaluation.target == name,
            )
        )
    return tuple(sets)
