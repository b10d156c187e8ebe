"""What is planned of a spec, or all that is wrong with it: each stage sees what the stages before left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from scaling.errors import UserError
from scaling.plan.data import NotPrepared
from scaling.spec.draft import Draft
from scaling.spec.load import Checked, check_draft
from scaling.spec.models import Study
from scaling.spec.source import SpecError

T = TypeVar("T")


def made(checked: Checked, attempt: Callable[[Checked], T]) -> T:
    """Return what an attempt makes of a spec that nothing is wrong with.

    Raises:
        UserError: all that is wrong with it: what reading it found, and what attempts find with what is left
            of it, until one finds nothing or nothing is left.
    """
    while checked.study is not None:
        try:
            result = attempt(checked)
        except SpecError as error:
            checked = _left(checked, error)
        except UserError as error:
            checked = Checked(None, (*checked.problems, *error.problems), checked.draft)
        else:
            if checked.sound:
                return result
            break
    raise UserError(*checked.draft.source.in_order(checked.problems))


def _left(checked: Checked, error: SpecError) -> Checked:
    """What is left of a spec without what an attempt found wrong with it."""
    draft, said = checked.draft, list(checked.problems)
    if not (said and isinstance(error, NotPrepared)):  # of a study that will not run nothing large is
        said += [*draft.source.problems(draft.said(error.findings)), *error.others]
    rest = draft.without(error.findings)
    left = Checked(None, (), draft) if rest is None else check_draft(rest)
    return replace(left, problems=tuple(dict.fromkeys((*said, *left.problems))))


def made_of_study(study: Study, attempt: Callable[[Checked], T]) -> T:
    """Return what an attempt makes of a study; raises UserError as :func:`made`."""
    try:
        return attempt(Checked(study, (), Draft({}, study.source)))
    except SpecError as error:
        draft = Draft(study.model_dump(mode="json", exclude_none=True), study.source)
        return made(_left(Checked(study, (), draft), error), attempt)
