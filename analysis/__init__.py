"""What runs mean: tables -> laws -> fits -> criticism -> forecasts -> figures and reports.

Stands alone: needs no other package of this distribution, works on any table with ``params``, ``tokens``
and ``loss``, and changes no global state. Names load on first use, so that importing this costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis import (
        backtest,
        estimators,
        figures,
        findings,
        forecasts,
        isoflop,
        ledger,
        report,
        schedules,
    )
    from analysis.curvelaw import CurveLaw
    from analysis.curvelaws import CURVE_LAWS
    from analysis.errors import AnalysisError
    from analysis.estimators import estimate
    from analysis.fitting import fit
    from analysis.laws import LAWS, Law
    from analysis.result import Fit
    from analysis.tables import after, import_table, load, select

_HOME = {
    "AnalysisError": "errors",
    "CURVE_LAWS": "curvelaws",
    "CurveLaw": "curvelaw",
    "Fit": "result",
    "LAWS": "laws",
    "Law": "laws",
    "after": "tables",
    "estimate": "estimators",
    "fit": "fitting",
    "import_table": "tables",
    "load": "tables",
    "select": "tables",
}
_MODULES = (
    "backtest",
    "estimators",
    "figures",
    "findings",
    "forecasts",
    "isoflop",
    "ledger",
    "report",
    "schedules",
)

__all__ = [
    "CURVE_LAWS",
    "LAWS",
    "AnalysisError",
    "CurveLaw",
    "Fit",
    "Law",
    "after",
    "backtest",
    "estimate",
    "estimators",
    "figures",
    "findings",
    "fit",
    "forecasts",
    "import_table",
    "isoflop",
    "ledger",
    "load",
    "report",
    "schedules",
    "select",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"analysis.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"analysis.{name}")
    raise AttributeError(f"module 'analysis' has no attribute {name!r}")
