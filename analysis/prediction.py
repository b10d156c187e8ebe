"""Predictions as their own object: the law at given inputs, with intervals and how far it reaches."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


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
        head = f"{self.level:.0%} intervals: law (low, high) and new run (new_low, new_high); {self.method}"
        return "\n".join([head, shown, *(f"note: {note}" for note in self.notes)])

    def _repr_html_(self) -> str:
        notes = "".join(f"<p>note: {note}</p>" for note in self.notes)
        return f"<p>{self.level:.0%} intervals, {self.method}</p>{self.frame.to_html(index=False)}{notes}"
