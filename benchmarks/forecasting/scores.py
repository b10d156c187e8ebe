"""Scores of intervals of log loss: coverage, width, interval score (Gneiting and Raftery 2007, eq. 43)."""

from __future__ import annotations

import numpy as np
import pandas as pd

FAMILIES = 2000  # resamples of families


def scored(rows: pd.DataFrame, low: np.ndarray, high: np.ndarray, level: float = 0.9) -> pd.DataFrame:
    """family, set, bucket, inside, width, score and the error of the middle, one per row."""
    y, rate = rows["y"].to_numpy(), 2 / (1 - level)
    below, above = np.maximum(low - y, 0), np.maximum(y - high, 0)
    return pd.DataFrame({
        "family": rows["family"], "set": rows["set"], "bucket": rows.get("bucket", ""),
        "inside": (below == 0) & (above == 0), "width": high - low,
        "score": high - low + rate * (below + above), "error": 0.5 * (low + high) - y,
    })  # fmt: skip


def by_family(found: pd.DataFrame) -> pd.DataFrame:
    """Mean over the sets of each family of their means: inside, score."""
    return found.groupby(["family", "set"])[["inside", "score"]].mean().groupby("family").mean()


def relative(found: pd.DataFrame, reference: pd.DataFrame) -> float:
    """Geometric mean over families of the score over the reference's."""
    return float(np.exp(np.log(by_family(found)["score"] / by_family(reference)["score"]).mean()))


def macro_interval(found: pd.DataFrame) -> tuple[float, float]:
    """90 % interval of the macro coverage, families drawn anew."""
    each = by_family(found)["inside"].to_numpy()
    draws = np.random.default_rng(0).choice(each, (FAMILIES, len(each))).mean(axis=1)
    return float(np.quantile(draws, 0.05)), float(np.quantile(draws, 0.95))


def summary(found: pd.DataFrame, references: dict[str, pd.DataFrame]) -> dict[str, float]:
    """What the protocol asks of one method."""
    each = by_family(found)["inside"]
    near = found.groupby("bucket")["inside"].mean()
    return {
        "coverage": float(found["inside"].mean()),
        "macro": float(each.mean()),
        "least family": float(each.min()),
        **{name: float(near[name]) for name in ("2x", "5x", "10x", "30x") if name in near},
        "median width": float(found["width"].median()),
        "mean error": float(found["error"].mean()),
        "rms error": float(np.sqrt((found["error"] ** 2).mean())),
        **{f"score / {name}": relative(found, other) for name, other in references.items()},
    }
