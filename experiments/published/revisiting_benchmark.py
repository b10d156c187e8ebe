"""Extrapolation of 92 learning curves (Alabdulmohsin et al. 2022, arXiv:2209.06640), on their fixed split.

Data: github.com/IBM/ColPret (MIT; the benchmark itself is google-research/revisiting_neural_scaling_laws),
aggregated_eval/revisiting_lang.csv and revisiting_vision.csv, one after the other as
revisiting_benchmark/runs.csv: domain, task, model, seen_examples, loss (or error), and training: 1 for the
points to fit, 0 for those to predict.

Laws of x = seen examples, each fitted to a curve's training points by least squares of logs: M1, a power law;
M2, with an offset; BNSL-1, a power law with one break (Caballero et al. 2023, arXiv:2210.14891). Scored by
the root mean square log error on the other points. No table of a paper is repeated here.

    python experiments/published/revisiting_benchmark.py [FOLDER] [--json]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from verdicts import Verdict, run

import analysis
from analysis import Law, bnsl

# training points of the curves that BNSL-1 is fitted to -> how their tasks begin: every number of points is
# compiled anew, and a fit takes a second or two
BROKEN = {19: "(", 67: "inet"}

LEVEL = 0.9
LAWS = {
    "M1": Law("M1", {"A": {"x": "alpha"}}),
    "M2": Law("M2", {"E": {}, "A": {"x": "alpha"}}),
    "BNSL-1": bnsl(1, "x", within=(1e6, 1e12), name="BNSL-1"),
}


def extrapolate(law: Law, curve: pd.DataFrame) -> dict[str, Any] | None:
    """The score of one law on one curve; None where its fit has nothing to predict with."""
    fit = analysis.fit(law, curve[curve["training"] == 1], objective="log-ls", bootstrap=0)
    if not fit.usable:
        return None
    new = curve[curve["training"] == 0]
    got, measured = fit.predict(new), new["loss"].to_numpy()
    errors = np.log(got["loss"].to_numpy()) - np.log(measured)
    # an end that is not identified (nan) is open
    inside = ~(measured < got["new_low"].to_numpy()) & ~(measured > got["new_high"].to_numpy())
    return {
        "law": law.name,
        "rmsle": float(np.sqrt(np.mean(errors**2))),
        "fitted": fit.noise.sd,
        "covered": float(inside.mean()),
        "far": float(new["x"].max() / curve.loc[curve["training"] == 1, "x"].max()),
        "status": fit.status.code,
        "rows": fit.objective.n,
    }


def scores(table: pd.DataFrame) -> pd.DataFrame:
    """One row per curve and law."""
    out = []
    for (domain, task, model), curve in table.groupby(["domain", "task", "model"]):
        begin = BROKEN.get(int(curve["training"].sum()))
        chosen = begin is not None and str(task).startswith(begin)
        for name, law in LAWS.items():
            if name == "BNSL-1" and not chosen:
                continue
            out.append({"domain": domain, "curve": f"{task} {model}", "law": name})
            out[-1] |= extrapolate(law, curve) or {"status": "not_identified"}
    return pd.DataFrame(out)


def line(name: str, rows: pd.DataFrame) -> str:
    codes = ", ".join(f"{n} {code}" for code, n in Counter(rows["status"]).most_common())
    return (
        f"{name}: {len(rows)} curves, RMSLE mean {rows['rmsle'].mean():.4f}, "
        f"median {rows['rmsle'].median():.4f}; 90 % intervals cover "
        f"{rows['covered'].mean():.0%} of new points (median curve {rows['covered'].median():.0%}); {codes}"
    )


def held(found: pd.DataFrame) -> str:
    """Whether intervals hold beyond the points fitted: they take law and independent errors for given."""
    covered = found.groupby(["law", "domain"])["covered"].mean().sort_values()
    short = ", ".join(f"{' '.join(key)} {v:.0%}" for key, v in covered[covered < LEVEL].items())
    said = f"do not hold under extrapolation; new points within: {short}" if short else "hold in every domain"
    return f"{LEVEL:.0%} intervals {said}"


def verdicts(folder: Path) -> Iterator[Verdict | str]:
    table = pd.read_csv(folder / "runs.csv").rename(columns={"seen_examples": "x"})
    found = scores(table)
    curves, points = found.groupby(["domain", "curve"]).ngroups, len(table)
    yield Verdict(
        "curves, points", "92, 20282", f"{curves}, {points}", "all read", (curves, points) == (92, 20282)
    )
    for law, rows in found.groupby("law"):
        for domain, part in rows.groupby("domain"):
            yield line(f"{law}, {domain}", part)
    yield held(found)
    both = found.pivot(index=["domain", "curve"], columns="law", values="rmsle")
    wins = int((both["M2"] < both["M1"]).sum())
    ours, theirs = both["M2"].median(), both["M1"].median()
    yield Verdict(
        "median RMSLE, M2 against M1", "lower", f"{ours:.4f}, {theirs:.4f}", "an offset helps", ours < theirs
    )
    yield f"M2 is nearer than M1 on {wins} of {curves} curves"
    same = both.dropna()
    yield f"on the {len(same)} curves of all three, median RMSLE: " + ", ".join(
        f"{law} {same[law].median():.4f}" for law in LAWS
    )
    worse = found[found["law"] == "M2"]
    ratio = (worse["rmsle"] / worse["fitted"]).median()
    yield (
        f"points to predict reach {worse['far'].median():.1f}x beyond those fitted (median curve); "
        f"a median M2 is off there by {ratio:.1f} times its own residuals"
    )


if __name__ == "__main__":
    run("revisiting_benchmark", verdicts)
