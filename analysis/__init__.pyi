"""The public names of ``analysis``, each listed once; ``__init__.py`` reads this file, as editors do."""

from analysis import coordinates as coordinates
from analysis import figures as figures
from analysis import findings as findings
from analysis import summaries as summaries
from analysis import training_curves as schedules
from analysis.comparison import Comparison as Comparison
from analysis.comparison import compare as compare
from analysis.downstream import TwoStep as TwoStep
from analysis.downstream import twostep as twostep
from analysis.errors import AnalysisError as AnalysisError
from analysis.fits.fitting import fit as fit
from analysis.fits.given import GivenLaw as GivenLaw
from analysis.fits.result import Fit as Fit
from analysis.forecasting import backtest as backtest
from analysis.forecasting import forecasts as forecasts
from analysis.forecasting import ledger as ledger
from analysis.hyperparameters import basins as basins
from analysis.hyperparameters import criticalbatch as criticalbatch
from analysis.laws.curve import CurveLaw as CurveLaw
from analysis.laws.law import Law as Law
from analysis.laws.shipped import LAWS as LAWS
from analysis.laws.shipped import bnsl as bnsl
from analysis.laws.shipped import precision as precision
from analysis.laws.shipped_curves import CURVE_LAWS as CURVE_LAWS
from analysis.multipliers import Multipliers as Multipliers
from analysis.multipliers import multiplier as multiplier
from analysis.optimal_size import envelope as envelope
from analysis.optimal_size import estimators as estimators
from analysis.optimal_size import isoflop as isoflop
from analysis.optimal_size.estimate import Estimate as Estimate
from analysis.optimal_size.estimators import estimate as estimate
from analysis.referee.page import check as check
from analysis.reporting.page import report as report
from analysis.schedule_search import BestSchedule as BestSchedule
from analysis.schedule_search import best_schedule as best_schedule
from analysis.tables.loading import import_table as import_table
from analysis.tables.loading import load as load
from analysis.tables.runs import after as after
from analysis.tables.runs import select as select

__all__ = ["schedules"]  # a renamed import counts as private otherwise
