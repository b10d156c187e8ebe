"""What runs mean: tables -> laws -> fits -> criticism -> forecasts -> figures and reports.

Stands alone: needs no other package of this distribution, works on any table with ``params``, ``tokens``
and ``loss``, and changes no global state. Names load on first use, so that importing this costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis import figures, findings, report
    from analysis import training_curves as schedules
    from analysis.comparison import Comparison, compare
    from analysis.downstream import TwoStep, twostep
    from analysis.errors import AnalysisError
    from analysis.fits.fitting import fit
    from analysis.fits.result import Fit
    from analysis.forecasting import backtest, forecasts, ledger
    from analysis.hyperparameters import basins, criticalbatch
    from analysis.laws.curve import CurveLaw
    from analysis.laws.law import Law
    from analysis.laws.shipped import CURVE_LAWS, LAWS, bnsl, precision
    from analysis.multipliers import Multipliers, multiplier
    from analysis.optimal_size import envelope, estimators, isoflop
    from analysis.optimal_size.estimate import Estimate
    from analysis.optimal_size.estimators import estimate
    from analysis.tables.runs import after, import_table, load, select
    from analysis.training_curves import BestSchedule, best_schedule

_HOME = {
    "AnalysisError": "errors",
    "BestSchedule": "training_curves",
    "CURVE_LAWS": "laws.shipped",
    "Comparison": "comparison",
    "CurveLaw": "laws.curve",
    "Estimate": "optimal_size.estimate",
    "Fit": "fits.result",
    "LAWS": "laws.shipped",
    "Law": "laws.law",
    "Multipliers": "multipliers",
    "TwoStep": "downstream",
    "after": "tables.runs",
    "best_schedule": "training_curves",
    "bnsl": "laws.shipped",
    "compare": "comparison",
    "estimate": "optimal_size.estimators",
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
    "envelope": "optimal_size.envelope",
    "estimators": "optimal_size.estimators",
    "figures": "figures",
    "findings": "findings",
    "forecasts": "forecasting.forecasts",
    "isoflop": "optimal_size.isoflop",
    "ledger": "forecasting.ledger",
    "report": "report",
    "schedules": "training_curves",
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
