"""A fit or an estimate from the JSON it was saved as."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.fits.result import Fit
from analysis.laws.law import Law
from analysis.optimal_size.estimate import Estimate

BEGINNING = 256  # bytes, in which an object shows itself


def read_saved(path: Path) -> Mapping[str, Any] | None:
    """What a file holds if that is the JSON of a fit or an estimate, by its content; None of a table."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        if not file.read(BEGINNING).lstrip().startswith(b"{"):
            return None
    try:
        data = json.loads(path.read_text("utf-8"))
    except ValueError:  # a table of JSON lines, or no text
        return None
    return data if {"schema", "solution", "intervals"} <= {*data} else None


def result(data: Mapping[str, Any], law: Law | None = None) -> Fit | Estimate:
    """The result that :func:`read_saved` found; ``law`` as of :meth:`analysis.Fit.from_json`. Raises
    AnalysisError."""
    return Fit.from_dict(data, law) if "law" in data else Estimate.from_dict(data)
