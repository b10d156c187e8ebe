"""Laws by name: shipped, or in a script of the user's own."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from analysis.errors import AnalysisError, Argument, Complaint
from analysis.laws.curve import CurveLaw
from analysis.laws.law import EXPONENTS, Law
from analysis.laws.shipped import LAWS
from analysis.laws.shipped_curves import CURVE_LAWS

LAW = "chinchilla"  # what is fitted where nothing is said


def require(law: Any) -> Law:
    """``law``, or of a name what :func:`find` gives. Raises AnalysisError for anything else."""
    if isinstance(law, str):
        return find(law)
    if isinstance(law, CurveLaw):
        raise AnalysisError(_of_curves(law.name))
    if not isinstance(law, Law):
        raise AnalysisError(f"law {law!r}: give a name that `scaling laws` lists, or a Law")
    return law


def _of_curves(name: str) -> str:
    return (
        f"law {name!r} is a law of training curves, not of the loss of a run; from Python: "
        "analysis.fit(law, table, schedules=schedules)"
    )


def require_curve_law(law: Any) -> CurveLaw:
    """``law``, or of a name the one of ``CURVE_LAWS``. Raises AnalysisError for a law of runs and others."""
    law = CURVE_LAWS.get(law, law) if isinstance(law, str) else law
    if not isinstance(law, CurveLaw):
        name = law.name if isinstance(law, Law) else law
        raise AnalysisError(
            f"law {name!r} is no law of training curves, which schedules= are for; leave them out, or choose "
            f"one of {', '.join(CURVE_LAWS)} (analysis.CURVE_LAWS)"
        )
    return law


def find(law: str) -> Law:
    """The law of this name, or NAME of a script given as ``path.py:NAME``, which is run: it is the user's own
    code, asked for by name. Raises AnalysisError."""
    if law in LAWS:
        return LAWS[law]
    path, separator, name = law.rpartition(":")
    if not separator or not path.endswith(".py"):
        if law in CURVE_LAWS:
            raise AnalysisError(_of_curves(law))
        close = get_close_matches(law.lower(), [*LAWS, *CURVE_LAWS], n=1)
        near = f"did you mean {close[0]!r}? " if close else ""
        hint = f"{near}`scaling laws` lists laws and estimators; or give file.py:NAME, a Law of yours"
        raise AnalysisError(Complaint((Argument("law", law), " is unknown"), hint=hint))
    script = _run(law, Path(path))
    written = script.get(name)
    if not isinstance(written, Law):
        laws = [key for key, value in script.items() if isinstance(value, Law)]
        raise AnalysisError(
            f"law {law!r}: {path} has no Law of that name; it has {', '.join(laws) or 'none'}"
        )
    return written


def _run(law: str, path: Path) -> dict[str, Any]:
    """What the script of ``law`` defines, by name. Raises AnalysisError."""
    spec = importlib.util.spec_from_file_location(path.stem, path) if path.is_file() else None
    if spec is None or spec.loader is None:
        raise AnalysisError(f"law {law!r}: no such file {path}; give the path of a Python script")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a user's script may raise
        raise AnalysisError(f"law {law!r}: {path} fails: {type(error).__name__}: {error}") from error
    return vars(module)


def from_dict(data: Mapping[str, Any]) -> Law:
    """The law that ``Law.to_dict`` wrote; one by function comes without it, unless we ship it."""
    shipped = LAWS.get(data["name"])
    if shipped is not None and shipped.to_dict() == dict(data):
        return shipped
    ends = (-np.inf, np.inf)
    domains: Any = {
        e: tuple(float(default if b is None else b) for b, default in zip(pair, ends, strict=True))
        for e, pair in data["domains"].items()
    }
    more = {"assumptions": data.get("assumptions", ""), "source": data["source"]}
    if "terms" in data:
        own = {e: bounds for e, bounds in domains.items() if bounds != EXPONENTS}
        return Law(data["name"], data["terms"], domains=own, **more)
    inputs, linear = tuple(data["inputs"]), tuple(data["linear"])
    return Law(data["name"], domains=domains, inputs=inputs, linear=linear, text=data["formula"], **more)
