"""What was decided of a design beyond what a user writes: it stands in study.yaml of the results."""

from __future__ import annotations

from pathlib import Path

from scaling.plan.kept import kept_study
from scaling.spec.models import Study
from scaling.store.folder import ResultsFolder


def with_decisions(study: Study, folder: Path) -> Study:
    """Return a study with what was decided of its design in ``folder``, where it leaves that open itself.

    Raises:
        UserError: study.yaml of the folder cannot be read.
    """
    design = study.design
    known = kept_study(ResultsFolder(folder)) if design.grows or design.unchosen else None
    return study if known is None else study.model_copy(update={"design": design.continued(known.design)})
