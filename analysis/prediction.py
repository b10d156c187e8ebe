"""Predictions as their own object: the law at given inputs, with intervals and how far it reaches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError


@dataclass(frozen=True)
class Prediction:
    """Loss at each row asked for. ``frame`` has the inputs; ``loss``; ``low, high`` (confidence: the law) and
    ``new_low, new_high`` (prediction: a new run, residual scale included) at ``level``; ``se_log``, the law's
    standard error (of log loss; of the loss where ``space`` is raw, of log(1 + loss) where it is log1p);
    ``extrapolation``, compute over the largest fitted (where C is unknown, the largest ratio of any input).
    Asked at C alone, N and D are the law's optimum, with ``N_low, N_high, D_low, D_high``. ``notes`` say what
    to beware of."""

    frame: pd.DataFrame
    level: float
    method: str
    space: str
    notes: tuple[str, ...] = ()

    def summary_frame(self) -> pd.DataFrame:
        return self.frame.copy()

    def __getitem__(self, column: str) -> pd.Series:
        return self.frame[column]  # type: ignore[return-value]

    def __len__(self) -> int:
        return len(self.frame)

    def __str__(self) -> str:
        shown = self.frame.to_string(index=False, float_format=lambda x: f"{x:.4g}")
        new = " and new run (new_low, new_high)" if "new_low" in self.frame else ""
        head = f"{self.level:.0%} intervals: law (low, high){new}; {self.method}"
        return "\n".join([head, shown, *(f"note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>note: {note}</p>" for note in self.notes)
        return f"<p>{self.level:.0%} intervals, {self.method}</p>{self.frame.to_html(index=False)}{notes}"


def check_level(level: Any) -> None:
    """Raises AnalysisError."""
    if level is not None and not (isinstance(level, (int, float)) and 0 < level < 1):
        raise AnalysisError(f"level = {level!r} must lie between 0 and 1; 0.9 is usual")


def claims(
    identified: Mapping[str, Mapping[str, Any]],
    values: Mapping[str, float | None],
    ends: Mapping[str, tuple[float, float]],
) -> pd.DataFrame:
    """Per quantity: estimate, low, high, verdict, reason; what is not identified is nan, what is one-sided
    has its bound only."""
    rows = {}
    for name, found in identified.items():
        low, high = ends.get(name, (np.nan, np.nan))
        value, bound = values.get(name), found.get("bound", {})
        if found["verdict"] != "yes":
            low = low if "lower" in bound else np.nan
            high = high if "upper" in bound else np.nan
        rows[name] = (np.nan if value is None else value, low, high, found["verdict"], found["reason"])
    columns = ["estimate", "low", "high", "verdict", "reason"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)
