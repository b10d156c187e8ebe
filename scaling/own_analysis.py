"""``analysis`` is a common name: make sure that the one Python would import is ours."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from scaling.errors import Complaint, UserError


def require_own_analysis() -> None:
    """Call before the first import of ``analysis``; imports nothing itself.

    Raises:
        UserError: another package of that name comes first on Python's path, or ours is not there.
    """
    own = Path(__file__).resolve().parents[1] / "analysis"
    spec = find_spec("analysis")
    if spec is None:
        message, hint = (
            "the package `analysis` is missing from this installation",
            "install scaling-laws again",
        )
        raise UserError(Complaint(message, hint=hint))
    importable = [
        Path(place).resolve()
        for place in spec.submodule_search_locations or ([spec.origin] if spec.origin else [])
    ]
    if importable != [own]:
        message = (
            f"another `analysis` ({', '.join(map(str, importable))}) hides the one of scaling-laws ({own})"
        )
        hint = "run from another folder, take it off PYTHONPATH, or rename it"
        raise UserError(Complaint(message, where="analysis", hint=hint))
