"""What was decided of a design beyond what a user writes: it stands in study.yaml of the results."""

from __future__ import annotations

from pathlib import Path

from scaling.spec.load import load_study
from scaling.spec.models import Study
from scaling.store.folder import ResultsFolder


def with_decisions(study: Study, folder: Path) -> Study:
    """Return a study with what was decided of its design in ``folder``, where it leaves that open itself.

    Raises:
        UserError: study.yaml of the folder cannot be read.
    """
    design, written = study.design, ResultsFolder(folder).spec
    if not (design.grows or design.unchosen) or not written.exists():
        return study
    return study.model_copy(update={"design": design.continued(load_study(written).design)})
