"""Broken power law (Caballero et al. 2022, arXiv:2210.14891, figure 4 left): four-digit addition, one break.

Data: github.com/ethancaballero/broken_neural_scaling_laws at ffa608f7ca7910b6f6bcbd39915491353ad5d600 (no
licence file: use it, do not pass it on), the 17 points typed into
fit_bnsl_and_extrapolate__4_digit_addition__dataset_size_x-axis.py as bnsl_4digit_addition/runs.csv:
dataset_size, loss, split (the first 14 train, the last 3 extrapolate).

Their code fits the law ``bnsl-1`` in the size of the data set by least squares of log(1 + loss), ours too. It
stores no result; the values below come from 120 random starts of scipy.

    python experiments/published/bnsl_4digit_addition.py [FOLDER] [--json]
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from verdicts import SLACK, Verdict, run

import analysis

BEST_KNOWN = 1.6196132e-7  # mean squared residual of log(1 + loss) on the 14 rows
EXTRAPOLATION = "0.0109"  # root mean squared residual of log loss on the last 3, at that optimum


def verdicts(folder: Path) -> Iterator[Verdict | str]:
    table = pd.read_csv(folder / "runs.csv")
    train, rest = (table[table["split"] == split] for split in ("train", "extrapolate"))
    law = analysis.bnsl(1, "dataset_size", within=(160, 928))
    fit = analysis.fit(law, train, objective="log1p-ls", cluster="dataset_size", bootstrap=200)
    fitted = law.values(fit.solution, {"dataset_size": train["dataset_size"]})
    ours = float(np.mean((np.log1p(train["loss"]) - np.log1p(fitted)) ** 2))
    rule = f"best known {BEST_KNOWN:.8g}, to {SLACK:g}"
    passed = ours <= BEST_KNOWN * (1 + SLACK)
    yield Verdict("MSLE, 14 rows", "none stored", f"{ours:.8g}", rule, passed)
    predicted = fit.predict(rest)
    error = float(np.sqrt(np.mean(np.log(predicted["loss"].to_numpy() / rest["loss"].to_numpy()) ** 2)))
    same = f"{error:.4f}" == EXTRAPOLATION
    yield Verdict("RMSLE, last 3", EXTRAPOLATION, f"{error:.4f}", "equal to 4 digits", same)
    yield f"{fit.starts.agree} of {fit.starts.n} starts agree; {fit.status.message}"
    yield from _identified(fit)
    for row, truth in zip(predicted.frame.itertuples(), rest["loss"], strict=True):
        inside = "inside" if row.new_low <= truth <= row.new_high else "outside"
        yield (
            f"at {row.dataset_size:g}: predicted {row.loss:.4f}, 90 % for a new run {row.new_low:.3f} .. "
            f"{row.new_high:.3f}, measured {truth:.4f}, {inside}"
        )
    yield from _without_last(law, train, rest)


def _identified(fit: analysis.Fit) -> Iterator[str]:
    for name, row in fit.ci().iterrows():
        ends = f"{row['low']:.4g} .. {row['high']:.4g}"
        yield f"{name} {fit.solution[str(name)]:.5g}, 90 % {ends}: {row['verdict']}, {row['reason']}"


def _without_last(law: analysis.Law, train: pd.DataFrame, rest: pd.DataFrame) -> Iterator[str]:
    """How much of the extrapolation hangs on the last points."""
    for count in (13, 12, 11):
        fit = analysis.fit(law, train.head(count), objective="log1p-ls", cluster="dataset_size", bootstrap=0)
        predicted = fit.predict(rest)["loss"].to_numpy()
        error = float(np.sqrt(np.mean(np.log(predicted / rest["loss"].to_numpy()) ** 2)))
        end = fit.solution["a"]
        yield f"from the first {count} rows: RMSLE {error:.3g}, a {end:.3g}, {fit.status.code}"


if __name__ == "__main__":
    run("bnsl_4digit_addition", verdicts)
