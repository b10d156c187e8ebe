"""What a spec says of data -> the content of a plan: stores are found, or prepared where they are missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel

from scaling.corpora.base import DocumentCorpus
from scaling.corpora.content import (
    HELD_OUT,
    Content,
    EvalSet,
    ExternalContent,
    GeneratedContent,
    StoredContent,
    StoredSource,
)
from scaling.corpora.evaluation import Evaluation
from scaling.corpora.external import External
from scaling.corpora.kinds import AnyCorpus
from scaling.corpora.mixture import Mixture
from scaling.corpora.quotas import BLOCK
from scaling.corpora.shipped import Shipped
from scaling.data.facts import Overlap, StoreFacts
from scaling.data.index import DataIndex, index_of
from scaling.data.request import Request, SplitKind
from scaling.data.stores import Stores
from scaling.errors import Complaint, UserError
from scaling.tokenizers.base import TextTokenizer
from scaling.tokenizers.kinds import Bytes


@dataclass(frozen=True)
class Wish:
    """What a spec says of its data. ``folder`` is what paths are relative to."""

    corpus: AnyCorpus
    tokenizer: TextTokenizer | None
    evaluation: Evaluation
    separator: Literal["keep", "none"] = "keep"
    unique_tokens: int | None = None
    folder: Path = field(default_factory=Path)


def resolve(wish: Wish, context: int, stores: Stores) -> DataIndex:
    """Index the data of a spec; see :func:`content_of` and :func:`scaling.data.index.index_of`."""
    return index_of(content_of(wish, stores), context)


def content_of(wish: Wish, stores: Stores) -> Content:
    """Return the data in numbers; missing stores are prepared as ``stores`` says.

    Raises:
        UserError: what the stores raise, and text shared by training and evaluation above what is allowed.
            ``where`` is the path in a spec.
    """
    _require_files(wish)
    match wish.corpus:
        case Mixture():
            return _mixture(wish, wish.corpus, stores)
        case DocumentCorpus():
            facts = _store(wish, wish.corpus, "data.corpus", stores)
            source = StoredSource(name="training", store=facts.fingerprint)
            sets = () if wish.evaluation.split == "none" else (_held_out(wish, HELD_OUT, facts),)
            return _stored(wish, (source,), (*sets, *_own_sets(wish, [facts], stores)))
        case External(tokens=tokens, name=name):
            return ExternalContent(kind="external", tokens=tokens, name=name)
        case generated:
            return GeneratedContent(
                kind="generated",
                corpus=generated,
                tokens=wish.evaluation.tokens,
                unique_tokens=wish.unique_tokens,
            )


def _require_files(wish: Wish) -> None:
    """Look for the files of every text before the first of several is read."""
    named = {f"evaluation.sets.{name}": corpus for name, corpus in wish.evaluation.sets.items()}
    match wish.corpus:
        case Mixture(sources=sources):
            named |= {f"data.corpus.sources.{name}.corpus": s.corpus for name, s in sources.items()}
        case DocumentCorpus() as corpus:
            named["data.corpus"] = corpus
        case _:
            pass
    problems = list[Complaint]()
    for where, corpus in named.items() if len(named) > 1 else ():
        try:
            if corpus.is_here(wish.folder):
                corpus.inputs(wish.folder)
        except UserError as error:
            problems += _placed(error, corpus, where)
    if problems:
        raise UserError(*problems)


def _stored(wish: Wish, sources: tuple[StoredSource, ...], sets: tuple[EvalSet, ...]) -> StoredContent:
    return StoredContent(kind="stored", sources=sources, sets=sets, unique_tokens=wish.unique_tokens)


def _mixture(wish: Wish, mixture: Mixture, stores: Stores) -> StoredContent:
    """Prepare every source; a tokenizer that is trained is trained on the heaviest."""
    quotas = mixture.quotas
    heaviest = max(quotas, key=lambda name: quotas[name])
    facts = dict[str, StoreFacts]()
    tokenizer_of = None
    for name in sorted(quotas, key=lambda name: name != heaviest):
        corpus = mixture.sources[name].corpus
        where = f"data.corpus.sources.{name}.corpus"
        facts[name] = _store(_share(wish, quotas[name]), corpus, where, stores, tokenizer_of)
        tokenizer_of = tokenizer_of or facts[name].fingerprint
    _require_one_tokenizer(facts, "data.corpus")
    if wish.evaluation.split != "none":
        for name, evaluated in facts.items():
            others = [other for other in facts.values() if other.fingerprint != evaluated.fingerprint]
            what, where = f"the held-out text of {name}", f"data.corpus.sources.{name}"
            _compare(_share(wish, quotas[name]), evaluated, others, (where, what), stores)
    sources = tuple(StoredSource(name=n, store=facts[n].fingerprint, quota=q) for n, q in quotas.items())
    held_out = tuple(_held_out(_share(wish, quotas[name]), name, facts[name]) for name in quotas)
    sets = () if wish.evaluation.split == "none" else held_out
    return _stored(wish, sources, (*sets, *_own_sets(wish, list(facts.values()), stores)))


def _share(wish: Wish, quota: int) -> Wish:
    """Return the wish of one source of a mixture: its share of what is evaluated."""
    asked = wish.evaluation
    numbers = {name: -(-getattr(asked, name) * quota // BLOCK) for name in ("documents", "tokens")}
    return replace(wish, evaluation=asked.model_copy(update=numbers))


def _require_one_tokenizer(facts: dict[str, StoreFacts], where: str) -> None:
    """Refuse texts that are cut by different tokenizers: their ids mean different things."""
    names = {(of.tokenizer.name, of.tokenizer.sha256, of.tokenizer.vocab_size) for of in facts.values()}
    if len(names) > 1:
        listed = ", ".join(f"{name}: {of.tokenizer.name}" for name, of in facts.items())
        message = f"these texts have different tokenizers ({listed})"
        raise UserError(Complaint(message, where, "give all of them the tokens of one tokenizer"))


def _store(
    wish: Wish, corpus: DocumentCorpus, where: str, stores: Stores, tokenizer_of: str | None = None
) -> StoreFacts:
    """Find or make the store of training text, and refuse one that shares too much with what is evaluated.

    Args:
        wish: what the spec says.
        corpus: the text, or one source of it.
        where: its path in the spec.
        stores: finds or makes it.
        tokenizer_of: fingerprint of the store whose tokenizer is taken; None to make one for this corpus.
    """
    evaluation = wish.evaluation
    split: SplitKind = evaluation.split if evaluation.split != "auto" else _usual_split(corpus)
    request = _request(wish, corpus, split, tokenizer_of)
    facts = _located(request, where, stores)
    if facts.held_out:
        _compare(wish, facts, [facts], (where, "the held-out text"), stores)
    return facts


def _require_little(overlap: Overlap, evaluation: Evaluation, where: str, what: str) -> None:
    """Refuse more shared text than the evaluation allows."""
    if overlap.share > evaluation.overlap:
        message = (
            f"{overlap.share:.1%} of the 13-grams of {what} occur in the training text too, "
            f"more than evaluation.overlap = {evaluation.overlap:.1%}"
        )
        hint = "remove what is there twice, or allow more with evaluation.overlap"
        raise UserError(Complaint(message, where, hint))


def _compare(
    wish: Wish, evaluated: StoreFacts, training: Iterable[StoreFacts], named: tuple[str, str], stores: Stores
) -> None:
    """Refuse evaluation text that shares too much with one of several training texts.

    Args:
        wish: what the spec says.
        evaluated: store with the evaluated documents.
        training: the other stores.
        named: the place of the evaluated text in the spec, and what messages call it.
        stores: knows or measures what two stores share.
    """
    asked = wish.evaluation
    documents = len(evaluated.evaluated(asked.documents, asked.tokens))
    for store in training:
        _require_little(stores.overlap(evaluated, store, documents), asked, *named)


def _usual_split(corpus: DocumentCorpus) -> SplitKind:
    return "spread" if isinstance(corpus, Shipped) else "hash"


def _request(wish: Wish, corpus: DocumentCorpus, split: SplitKind, tokenizer_of: str | None) -> Request:
    evaluation = wish.evaluation
    return Request(
        corpus=corpus,
        label=corpus.name if isinstance(corpus, Shipped) else corpus.kind,
        tokenizer=None if corpus.tokenised else wish.tokenizer or Bytes(),
        tokenizer_of=tokenizer_of,
        split=split,
        share=evaluation.share,
        documents=evaluation.documents,
        tokens=evaluation.tokens,
        separator=wish.separator,
        folder=wish.folder,
    )


def _located(request: Request, where: str, stores: Stores) -> StoreFacts:
    """Prepare; problems of the fields of the corpus are given their place in the spec."""
    try:
        return stores.store(request)
    except UserError as error:
        raise UserError(*_placed(error, request.corpus, where)) from None


def _placed(error: UserError, corpus: DocumentCorpus, where: str) -> list[Complaint]:
    """Put ``where`` before the fields that problems of a corpus are about."""
    return [
        replace(problem, where=f"{where}.{problem.where}") if _has(type(corpus), problem.where) else problem
        for problem in error.problems
    ]


def _has(model: type[BaseModel], path: str) -> bool:
    """Return whether a path (``document.separator``) is one of fields, rather than a file, say."""
    name, dot, rest = path.partition(".")
    field = model.model_fields.get(name)
    return field is not None and (not dot or any(_has(inner, rest) for inner in _models(field.annotation)))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the models in the type of a field, which may be a union of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _held_out(wish: Wish, name: str, facts: StoreFacts) -> EvalSet:
    """Evaluate a source's own held-out text."""
    evaluation = wish.evaluation
    return EvalSet(
        name=name,
        store=facts.fingerprint,
        documents=evaluation.documents,
        tokens=evaluation.tokens,
        target=evaluation.target == HELD_OUT,
    )


def _own_sets(wish: Wish, training: Sequence[StoreFacts], stores: Stores) -> tuple[EvalSet, ...]:
    """Prepare evaluation texts of their own; each is evaluated as far as it goes."""
    sets = list[EvalSet]()
    for name, corpus in wish.evaluation.sets.items():
        request = _request(wish, corpus, "all", training[0].fingerprint)
        facts = _located(request, f"evaluation.sets.{name}", stores)
        _require_one_tokenizer({"training": training[0], name: facts}, f"evaluation.sets.{name}")
        _compare(wish, facts, training, (f"evaluation.sets.{name}", f"the evaluation set {name}"), stores)
        available = sum(map(facts.targets, facts.held_out))
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
