"""(Mis)fitting (Li et al. 2025, arXiv:2502.18969): how far an analyst's choices move a law.

Data: github.com/hadasah/scaling_laws at 1f3708c0a12df0effb0ee906b1da5f9f0ff4f4f1 (no licence stated: use it,
do not pass it on), data/scaling_results.csv as misfitting/runs.csv: 4,852 checkpoints of 11 sizes, 22 step
counts and up to 4 peak learning rates a size. Their stored fits come from row filters that are not stated
with them, and are not repeated here.

A cell is a size and a token count; its run is the finished one of the learning rate with the lowest loss.

    python experiments/published/misfitting.py [FOLDER] [--json]
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from verdicts import SLACK, Verdict, run

import analysis

BEST_KNOWN = (
    0.00103807  # sum of Huber at delta 1e-3, N with embedding; six digits, as refits by scipy gave it
)
HALF = 5e-9  # of their last digit
FLOPS = 1e22


def table(folder: Path) -> pd.DataFrame:
    """All checkpoints, N with embedding as ``params`` and without as ``params_body``."""
    runs = pd.read_csv(folder / "runs.csv").rename(columns={"params_no_embed": "params_body"})
    return runs.drop(columns=["flops", "C_no_emb"])


def finished(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["portion_steps_elapsed"] >= 1]


def best(rows: pd.DataFrame) -> pd.DataFrame:
    """Per size and token count, the row with the lowest loss."""
    return rows.loc[rows.groupby(["params", "tokens"])["loss"].idxmin()]


def choices(runs: pd.DataFrame) -> dict[str, tuple[pd.DataFrame, dict[str, object]]]:
    """What an analyst may well choose, one thing changed at a time -> rows, and arguments of the fit."""
    ours, usual = best(finished(runs)), {"delta": 1e-3, "convention": "6nd", "cells": "all"}
    sizes = sorted(ours["params"].unique())
    rates = finished(runs)
    checkpoints = best(runs[runs["portion_steps_elapsed"] >= 0.1])
    return {
        "as above": (ours, usual),
        "N without embedding": (ours, usual | {"convention": "kaplan"}),
        "learning rate .001": (best(rates[rates["peak_lr"] == 0.001]), usual),
        "learning rate .002": (best(rates[rates["peak_lr"] == 0.002]), usual),
        "all learning rates": (rates, usual),
        "two smallest sizes left out": (ours[ours["params"] > sizes[1]], usual),
        "largest size left out": (ours[ours["params"] < sizes[-1]], usual),
        "Huber 1e-2": (ours, usual | {"delta": 1e-2}),
        "Huber 1e-4": (ours, usual | {"delta": 1e-4}),
        "least squares of logs": (ours, {"convention": "6nd", "objective": "log-ls", "cells": "all"}),
        "checkpoints beyond 10 %": (checkpoints, usual),
    }


def shown(fit: analysis.Fit, name: str) -> str:
    """A value with its interval, or what can be said instead."""
    row = fit.ci().loc[name]
    value = fit.solution[name] if name in fit.solution else fit.optimum[name]
    if row["verdict"] == "yes":
        return f"{name} {row['estimate']:.3f} ({row['low']:.3f} .. {row['high']:.3f})"
    at = "" if value is None else f"{value:.3f} "
    return f"{name} {at}({row['verdict'].replace('_', '-')})"


def line(name: str, fit: analysis.Fit) -> str:
    size = fit.optimal(FLOPS).iloc[0]
    reach = (
        f"N* at {FLOPS:.0e} {size['N'] / 1e9:.1f}B ({size['N_low'] / 1e9:.2g} .. {size['N_high'] / 1e9:.2g})"
    )
    values = ", ".join(shown(fit, x) for x in ("E", "alpha", "beta", "a"))
    return f"{name}: {fit.objective.n} rows, {values}; {reach}; {fit.status.code}"


def verdicts(folder: Path) -> Iterator[Verdict | str]:
    fits = {
        name: analysis.fit("chinchilla", rows, bootstrap=200, **options)  # type: ignore[arg-type]
        for name, (rows, options) in choices(table(folder)).items()
    }
    ours, without = fits["as above"], fits["N without embedding"]
    value, limit = ours.objective.value, (BEST_KNOWN + HALF) * (1 + SLACK)
    name = f"objective, {ours.objective.n} cells, Huber 1e-3"
    yield Verdict(name, f"{BEST_KNOWN:.6g}", f"{value:.6g}", "best known, to its digits", value <= limit)
    found = without.identified["E"].verdict
    yield Verdict(
        "E, N without embedding", "-", found, "not reported as a number", without.params["E"] is None
    )
    code = without.status.code
    yield Verdict("status, N without embedding", "-", code, "not ok", code != "ok")
    yield f"{without.status.message}"
    for name, fit in fits.items():
        yield line(name, fit)
    sizes = [fit.optimal(FLOPS)["N"].iloc[0] for fit in fits.values()]
    exponents = [fit.optimum.a for fit in fits.values() if fit.optimum.a is not None]
    yield (
        f"N* at {FLOPS:.0e} from {min(sizes) / 1e9:.1f}B to {max(sizes) / 1e9:.1f}B; a is determined in "
        f"{len(exponents)} of {len(fits)}, and is {min(exponents):.3f} to {max(exponents):.3f} there"
    )


if __name__ == "__main__":
    run("misfitting", verdicts)
