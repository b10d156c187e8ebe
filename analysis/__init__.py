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
        basins,
        criticalbatch,
        envelope,
        estimators,
        figures,
        findings,
        forecasts,
        isoflop,
        ledger,
        report,
        schedules,
    )
    from analysis.comparison import Comparison, compare
    from analysis.curvelaw import CurveLaw
    from analysis.curvelaws import CURVE_LAWS
    from analysis.downstream import TwoStep, twostep
    from analysis.errors import AnalysisError
    from analysis.estimated import Estimate
    from analysis.estimators import estimate
    from analysis.fitting import fit
    from analysis.laws import Law
    from analysis.multipliers import Multipliers, multiplier
    from analysis.result import Fit
    from analysis.schedules import BestSchedule, best_schedule
    from analysis.shipped import LAWS, bnsl, precision
    from analysis.tables import after, import_table, load, select

_HOME = {
    "AnalysisError": "errors",
    "BestSchedule": "schedules",
    "CURVE_LAWS": "curvelaws",
    "Comparison": "comparison",
    "CurveLaw": "curvelaw",
    "Estimate": "estimated",
    "Fit": "result",
    "LAWS": "shipped",
    "Law": "laws",
    "Multipliers": "multipliers",
    "TwoStep": "downstream",
    "after": "tables",
    "best_schedule": "schedules",
    "bnsl": "shipped",
    "compare": "comparison",
    "estimate": "estimators",
    "fit": "fitting",
    "import_table": "tables",
    "load": "tables",
    "multiplier": "multipliers",
    "precision": "shipped",
    "select": "tables",
    "twostep": "downstream",
}
_MODULES = (
    "backtest",
    "basins",
    "criticalbatch",
    "envelope",
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
    "BestSchedule",
    "Comparison",
    "CurveLaw",
    "Estimate",
    "Fit",
    "Law",
    "Multipliers",
    "TwoStep",
    "after",
    "backtest",
    "basins",
    "best_schedule",
    "bnsl",
    "compare",
    "criticalbatch",
    "envelope",
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
    "multiplier",
    "precision",
    "report",
    "schedules",
    "select",
    "twostep",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"analysis.{_HOME[name]}"), name)
    if name in _MODULES:
        return import_module(f"analysis.{name}")
    raise AttributeError(f"module 'analysis' has no attribute {name!r}")
