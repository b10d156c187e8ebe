"""What runs mean: tables -> laws -> fits -> criticism -> forecasts -> figures and reports.

Stands alone: needs no other package of this distribution, works on any table with ``params``, ``tokens``
and ``loss``, and changes no global state. Names load on first use, so that importing this costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis import figures, findings, report
    from analysis.comparison import Comparison, compare
    from analysis.curves import schedules
    from analysis.curves.curvelaw import CurveLaw
    from analysis.curves.curvelaws import CURVE_LAWS
    from analysis.curves.schedules import BestSchedule, best_schedule
    from analysis.downstream import TwoStep, twostep
    from analysis.errors import AnalysisError
    from analysis.estimation import envelope, estimators, isoflop
    from analysis.estimation.estimated import Estimate
    from analysis.estimation.estimators import estimate
    from analysis.fits.fitting import fit
    from analysis.fits.result import Fit
    from analysis.forecasting import backtest, forecasts, ledger
    from analysis.hyperparameters import basins, criticalbatch
    from analysis.laws.law import Law
    from analysis.laws.shipped import LAWS, bnsl, precision
    from analysis.multipliers import Multipliers, multiplier
    from analysis.tables.runs import after, import_table, load, select

_HOME = {
    "AnalysisError": "errors",
    "BestSchedule": "curves.schedules",
    "CURVE_LAWS": "curves.curvelaws",
    "Comparison": "comparison",
    "CurveLaw": "curves.curvelaw",
    "Estimate": "estimation.estimated",
    "Fit": "fits.result",
    "LAWS": "laws.shipped",
    "Law": "laws.law",
    "Multipliers": "multipliers",
    "TwoStep": "downstream",
    "after": "tables.runs",
    "best_schedule": "curves.schedules",
    "bnsl": "laws.shipped",
    "compare": "comparison",
    "estimate": "estimation.estimators",
    "fit": "fits.fitting",
    "import_table": "tables.runs",
    "load": "tables.runs",
    "multiplier": "multipliers",
    "precision": "laws.shipped",
    "select": "tables.runs",
    "twostep": "downstream",
}
_MODULES = {
    "backtest": "forecasting.backtest",
    "basins": "hyperparameters.basins",
    "criticalbatch": "hyperparameters.criticalbatch",
    "envelope": "estimation.envelope",
    "estimators": "estimation.estimators",
    "figures": "figures",
    "findings": "findings",
    "forecasts": "forecasting.forecasts",
    "isoflop": "estimation.isoflop",
    "ledger": "forecasting.ledger",
    "report": "report",
    "schedules": "curves.schedules",
}

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
        return import_module(f"analysis.{_MODULES[name]}")
    raise AttributeError(f"module 'analysis' has no attribute {name!r}")
