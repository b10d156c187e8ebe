"""The data of a study -> indexes of prepared tokens; problems get their place in the spec."""

from __future__ import annotations

from collections.abc import Sequence

from scaling.corpora.content import ExternalContent
from scaling.corpora.evaluation import Evaluation
from scaling.data.index import DataIndex
from scaling.data.resolve import Wish, resolve
from scaling.data.stores import Stores
from scaling.errors import Complaint, UserError
from scaling.plan.designs import Asked
from scaling.plan.settings import Choice
from scaling.spec.models import Study
from scaling.spec.source import Finding
from scaling.store.records import PlanData

SMALL = Stores(most_bytes=256e6)  # what a plan prepares without being asked: some seconds


def resolve_data(study: Study, stores: Stores = SMALL) -> DataIndex:
    """Index the study's data; problems are given the place in the spec.

    Args:
        study: names corpus, tokenizer and evaluation.
        stores: finds what is prepared, and prepares the rest; left out: where that takes seconds.

    Raises:
        UserError: data that cannot be read, are not prepared yet, or cannot serve this evaluation.
    """
    return _index(study, Choice(None, study.data, study.family, study.recipe), stores)


def index_all(study: Study, asked: Sequence[Asked], stores: Stores) -> list[tuple[Choice, DataIndex]]:
    """Index each of the data that are asked for; raises UserError with the problems of all."""
    indexes, problems = list[tuple[Choice, DataIndex]](), list[Complaint]()
    firsts = {id(one.choice.data): one.choice for one in reversed(asked)}
    for choice in reversed(firsts.values()):
        try:
            indexes.append((choice, _index(study, choice, stores)))
        except UserError as error:
            problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        raise UserError(*problems)
    return indexes


def _index(study: Study, choice: Choice, stores: Stores) -> DataIndex:
    data, folder = choice.data, study.source.folder
    wish = Wish(data.corpus, data.tokenizer, study.evaluation, data.separator, data.unique_tokens, folder)
    try:
        return resolve(wish, data.context, stores)
    except UserError as error:
        raise UserError(*(_located(study, choice, problem) for problem in error.problems)) from None


def _located(study: Study, choice: Choice, problem: Complaint) -> Complaint:
    """Give a problem of a field such as ``data.corpus.files`` its line in the spec."""
    section, _, field = problem.where.partition(".")
    if section not in ("data", "evaluation"):
        return problem
    finding = Finding((section, *field.split(".")), problem.message, problem.hint)
    return study.source.problem(choice.located(finding))


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
