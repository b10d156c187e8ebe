"""The whole way of a study: planned, trained, fitted, forecast, scored."""

from scaling.study.finished import StudyReport
from scaling.study.launch import StudyStopped
from scaling.study.whole import require_possible, run_study

__all__ = ["StudyReport", "StudyStopped", "require_possible", "run_study"]
