"""``scaling plan --figure``: the design of a study."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from scaling.cli import say
from scaling.design.wish import Asked
from scaling.errors import Complaint, UserError
from scaling.plan.plan import Plan
from scaling.spec.models import Study

KINDS = (".png", ".pdf", ".svg")


def require_kind(path: Path) -> None:
    """Raises UserError: a file of this suffix is not drawn."""
    if path.suffix not in KINDS:
        problem = f"--figure {path}: files of kind {path.suffix or 'none'} are not drawn"
        raise UserError(Complaint(problem, hint=f"end its name in {', '.join(KINDS)}"))


def draw_design(path: Path, study: Study, plan: Plan, about: Asked, done: Collection[str]) -> None:
    """Draw the runs of a plan, N against D, into a file; its suffix says of which kind it is.

    Args:
        path: of the file, of one of :data:`KINDS`.
        study: the study.
        plan: its plan.
        about: what is assumed where results decide of more runs.
        done: ids of runs that are done.

    Raises:
        UserError: the file cannot be written.
    """
    from analysis.figures import save
    from analysis.figures.design import design
    from analysis.figures.look import Rendering
    from scaling.design.foreseen import drawn

    runs = drawn(study, plan, about, done)
    try:
        drawing = {path.stem: lambda: design(runs)}
        save(drawing, path.parent, Rendering((path.suffix.removeprefix("."),)))
    except OSError as error:
        raise say.unwritable("--figure", error, "name a file in a folder that can be written") from None
