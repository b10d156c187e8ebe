"""The study that a results folder keeps in study.yaml, and what paths in specs there are relative to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scaling.errors import Complaint, UserError
from scaling.plan.plan import load_plan
from scaling.spec.load import Checked, read_study
from scaling.spec.models import Study
from scaling.spec.text import parse
from scaling.store.folder import ResultsFolder

HINT = "correct or remove this file, or name another folder with --results"


def read_spec(path: str | Path, overrides: Sequence[str] = (), profile: str | Path | None = None) -> Checked:
    """Read a spec as :func:`scaling.spec.load.read_study`, wherever it lies: paths in one of a results folder
    are relative to the folder of the spec that was planned there.

    Raises:
        UserError: a file cannot be read or is not a YAML mapping.
    """
    return read_study(path, overrides, profile, specs_folder(Path(path).parent))


def load_spec(path: str | Path, overrides: Sequence[str] = ()) -> Study:
    """Read a spec as :func:`read_spec`. Raises UserError with every problem of it."""
    return read_spec(path, overrides).clean()


def kept_study(results: ResultsFolder) -> Study | None:
    """Return the study of a results folder; None: there is none, or it was planned in Python and has no spec.

    Raises:
        UserError: study.yaml cannot be read.
    """
    if not results.spec.exists():
        return None
    try:
        text = results.spec.read_text("utf-8")
        return None if parse(text, str(results.spec)).value is None else load_spec(results.spec)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(Complaint(f"cannot be read: {error}", str(results.spec), HINT)) from None
    except UserError as error:
        unusable = Complaint("does not say what was decided of the design", str(results.spec), HINT)
        raise UserError(unusable, *error.problems) from None


def specs_folder(folder: Path) -> Path | None:
    """Return what paths in a spec that lies in ``folder`` are relative to where that is a results folder: the
    folder of the spec that was planned there. None: it is not, or its plan does not say.
    """
    results = ResultsFolder(folder)
    try:
        named = load_plan(results).folder if results.plan.exists() else None
    except UserError:  # a damaged plan is reported where it is used
        return None
    return None if named is None else Path(named)
