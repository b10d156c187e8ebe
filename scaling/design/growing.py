"""A study that may grow as results come in: what is decided of it, its text, and what is decided next.

A design that grows keeps what was decided in fields of its own, so that study.yaml says all: there it has
``grows``, ``unfinished`` and ``continued`` (``scaling.spec.designs``); here it has one entry of
:data:`DECISIONS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from scaling.own_analysis import require_own_analysis
from scaling.plan.expand import plan_study
from scaling.plan.grown import with_decisions
from scaling.plan.plan import Plan, load_plan
from scaling.plan.written import study_text
from scaling.spec.designs.kinds import Design
from scaling.spec.models import Study
from scaling.store.folder import ResultsFolder

require_own_analysis()

from scaling.design.centring import centre_next  # noqa: E402
from scaling.design.choosing import choose  # noqa: E402
from scaling.design.rounds import choose_next  # noqa: E402

# From a study, its plan and the folder with the table of its runs to the design with one decision more, and
# that decision in words; by the kind of the design.
Decide = Callable[[Study, Plan, Path], tuple[Design, str]]
DECISIONS: dict[str, Decide] = {"isoflop": centre_next, "adaptive": choose_next}


def decided(study: Study, folder: Path) -> Study:
    """Return a study with what results in ``folder`` decided of its design, and with those cells chosen that
    come before any result.

    Raises:
        UserError: study.yaml of the folder cannot be read, or no cell lies within the budget.
    """
    return choose(with_decisions(study, folder))


@dataclass(frozen=True)
class FixedPlan:
    """A plan in which nothing is left to decide, and the ``text`` for study.yaml beside it; None: both stand
    in the folder already."""

    plan: Plan
    text: str | None

    def behind(self, folder: Path) -> bool:
        return False

    def replaced(self, folder: Path) -> bool:
        return False

    def afresh(self) -> FixedPlan:
        return self

    def caught_up(self, folder: Path) -> FixedPlan:
        return self


@dataclass(frozen=True)
class PlannedStudy:
    """A study and the plan of what is decided of it; ``heading`` is the comment that its text begins with."""

    study: Study
    plan: Plan
    heading: str = ""

    @classmethod
    def of(cls, study: Study, folder: Path) -> PlannedStudy:
        """Plan a study with what is decided in ``folder``."""
        study = decided(study, folder)
        return cls(study, plan_study(study))

    @property
    def waits(self) -> bool:
        """Whether more is decided when the runs of the plan are trained."""
        return self.study.design.unfinished

    @property
    def text(self) -> str:
        return self.heading + study_text(self.study)

    def behind(self, folder: Path) -> bool:
        """Tell whether more is decided in ``folder``."""
        return with_decisions(self.study, folder) != self.study

    def replaced(self, folder: Path) -> bool:
        """Tell whether the plan in ``folder`` is of a design that asks for something else."""
        return load_plan(ResultsFolder(folder)).question != self.plan.question

    def afresh(self) -> PlannedStudy:
        """Leave out what results decided: those of another recipe decide nothing."""
        return self._with(choose(self.study.model_copy(update={"design": self.study.design.undecided})))

    def caught_up(self, folder: Path) -> PlannedStudy:
        """Take over what other launches have decided in ``folder``."""
        return self._with(with_decisions(self.study, folder))

    def next(self, folder: Path) -> tuple[PlannedStudy, str]:
        """Decide once more by the table of ``folder``; say what, in words."""
        design, said = DECISIONS[self.study.design.kind](self.study, self.plan, folder)
        return self._with(self.study.model_copy(update={"design": design})), said

    def _with(self, study: Study) -> PlannedStudy:
        return replace(self, study=study, plan=plan_study(study))
