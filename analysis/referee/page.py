"""Every test of a table, one after another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd

from analysis.errors import AnalysisError
from analysis.laws.law import Law
from analysis.laws.lookup import LAW, require
from analysis.referee import design, form, quality, stability, training
from analysis.referee.outcome import Outcome, Page, unseen
from analysis.referee.subject import Subject, Test

TESTS: dict[str, Test] = {**design.TESTS, **training.TESTS, **quality.TESTS, **stability.TESTS, **form.TESTS}


def check(
    table: pd.DataFrame,
    law: str | Law = LAW,
    *,
    compute: float | None = None,
    curves: pd.DataFrame | None = None,
    **options: Any,
) -> Page:
    """Put a table of runs and a law to the tests that a referee would.

    Args:
        table: runs, as of :func:`analysis.load`.
        law: a name of ``LAWS``, ``file.py:NAME`` or a Law.
        compute: FLOPs that the law is to be used at; left out: those of the held-out runs, where there are
            some.
        curves: logged rows of the runs: ``run_id, tokens, train/loss``; left out: there are none.
        options: those of :func:`analysis.fit`.

    Raises:
        AnalysisError: for a bad request, or a table that the law cannot be fitted to.
    """
    if compute is not None and not 0 < compute < float("inf"):
        raise AnalysisError(f"compute = {compute!r} must be finite and positive, such as 1e21")
    subject = Subject(require(law), table, options, compute, curves)
    fitted = subject.fitted
    return Page(
        law=fitted.law.name,
        formula=fitted.law.formula,
        convention=fitted.convention,
        runs=len(fitted.data["row"]),
        status=fitted.status.code,
        outcomes=tuple(_outcome(name, test, subject) for name, test in TESTS.items()),
    )


def _outcome(name: str, test: Test, subject: Subject) -> Outcome:
    try:
        outcome = test.ask(subject)
    except AnalysisError as error:  # of what the test asks, which this table cannot answer
        problem = error.problems[0]
        outcome = unseen(replace(problem, hint="").text(), problem.hint)
    return replace(outcome, name=name, title=test.title)
