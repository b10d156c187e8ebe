"""The data of a study -> indexes of prepared tokens; problems get their place in the spec."""

from __future__ import annotations

from collections.abc import Sequence

from scaling.corpora.content import ExternalContent
from scaling.corpora.evaluation import Evaluation
from scaling.data.index import DataIndex
from scaling.data.resolve import Wish, resolve
from scaling.data.stores import Stores, Unprepared
from scaling.errors import Complaint, UserError
from scaling.plan.designs import Asked
from scaling.plan.settings import Choice
from scaling.spec.models import Study
from scaling.spec.source import Finding, SpecError
from scaling.store.records import PlanData


class NotPrepared(SpecError):
    """Data that have to be prepared first, among what else is wrong."""


SMALL = Stores(most_bytes=256e6)  # what a plan prepares without being asked: some seconds


def resolve_data(study: Study, stores: Stores = SMALL) -> DataIndex:
    """Index the study's data; problems are given the place in the spec.

    Args:
        study: names corpus, tokenizer and evaluation.
        stores: finds what is prepared, and prepares the rest; left out: where that takes seconds.

    Raises:
        UserError: data that cannot be read, are not prepared yet, or cannot serve this evaluation.
    """
    return _index(study, _plain(study), stores)


def index_all(study: Study, asked: Sequence[Asked], stores: Stores) -> list[tuple[Choice, DataIndex]]:
    """Index each of the data that are asked for, those of the study where nothing is.

    Raises:
        SpecError: the problems of all; NotPrepared where some have to be prepared first.
    """
    indexes = list[tuple[Choice, DataIndex]]()
    kind, findings, others = SpecError, list[Finding](), list[Complaint]()
    firsts = {id(one.choice.data): one.choice for one in reversed(asked)}
    for choice in reversed(firsts.values()) if asked else [_plain(study)]:
        try:
            indexes.append((choice, _index(study, choice, stores)))
        except SpecError as error:
            kind = type(error) if kind is SpecError else kind
            findings += error.findings
            others += error.others
    if findings or others:
        raise kind(study.source, [*dict.fromkeys(findings)], [*dict.fromkeys(others)])
    return indexes


def _plain(study: Study) -> Choice:
    return Choice(None, study.data, study.family, study.recipe)


def _index(study: Study, choice: Choice, stores: Stores) -> DataIndex:
    """Raises SpecError, with problems of a field such as ``data.corpus.files`` at its place in the spec."""
    data, folder = choice.data, study.source.folder
    wish = Wish(data.corpus, data.tokenizer, study.evaluation, data.separator, data.unique_tokens, folder)
    try:
        return resolve(wish, data.context, stores)
    except UserError as error:
        placed = [(_located(choice, problem), problem) for problem in error.problems]
        findings = [finding for finding, _ in placed if finding is not None]
        others = [problem for finding, problem in placed if finding is None]
        kind = NotPrepared if isinstance(error, Unprepared) else SpecError
        raise kind(study.source, findings, others) from None


def _located(choice: Choice, problem: Complaint) -> Finding | None:
    """The place of a problem in the spec; None where it is of no field there."""
    section, _, field = problem.where.partition(".")
    if section not in ("data", "evaluation"):
        return None
    return choice.located(Finding((section, *field.split(".")), problem.message, problem.hint))


def plan_data(index: DataIndex, evaluation: Evaluation) -> PlanData:
    """Return what a plan and its jobs keep of the data."""
    evaluates = not isinstance(index.content, ExternalContent)
    return PlanData(
        corpus=index.corpus,
        tokenizer=index.tokenizer.name,
        context=index.context,
        eval_documents=evaluation.documents if evaluates else 0,
        eval_tokens=evaluation.tokens if evaluates else 0,
        fingerprint=index.fingerprint,
        eval_id=index.eval_id,
        content=index.content,
    )
