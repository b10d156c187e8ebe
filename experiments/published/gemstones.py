"""Gemstones (McLeish et al. 2025, arXiv:2502.06857): approaches 1 and 3 on checkpoints of 22 models.

Data: github.com/mcleish7/gemstone-scaling-laws at 5f420478f6057b0cbb4d13405fb10ca64675bccb (MIT),
wandb_dfs/wandb_df_for_fitting_*.jsonl, one after the other as gemstones/runs.csv with the name of the file in
``subset``, and ``flops`` by their formula; parameters*/**.json as published_approach1.csv and
published_approach3.csv. Subsets overlap: always choose one.

    python experiments/published/gemstones.py [FOLDER] [--json]
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from verdicts import Verdict, as_good, from_logs, objective, run

import analysis

FLOPS = 1e22
WIDE = {"alpha": (1e-3, 10.0)}  # one subset has a single width, and alpha wanders off
# subset -> the label of their regression
APPROACH_1 = {
    "hot_477": "",
    "hot_100b+_477": "_100b+",
    "hot_120b+_only_477": "_120b+_only",
    "cool_end": "_cooldown",
    "lr_ablation_hot_477": "_lr_ablation",
}
# subset, delta -> the lowest objective known
APPROACH_3 = {
    ("hot_100b+", "1e-3"): 0.00659253416,
    ("hot_100b+", "1e-4"): 0.000692328908,
    ("cool_end", "1e-4"): 0.000204779068,
    ("hot", "1e-4"): 0.000207505156,
    ("slim_chinchilla", "1e-3"): 0.000120436038,
    ("slim_chinchilla", "1e-4"): 1.30363803e-05,
}


def hulls(table: pd.DataFrame, published: pd.Series) -> Iterator[Verdict | str]:
    """Approach 1: regression through the lower convex hull; an interval by redrawing whole training runs."""
    for subset, label in APPROACH_1.items():
        rows = table[table["subset"] == subset]
        found = analysis.estimate("hull", rows, cluster="run_name", bootstrap=100)
        for letter, name in (("a", "params"), ("b", "tokens")):
            ours, theirs = f"{found.solution[letter]:.6f}", f"{published[name + label]:.6f}"
            yield Verdict(
                f"{letter} of the hull, {subset}", theirs, ours, "equal to 6 digits", ours == theirs
            )
        low, high = found.intervals.params["a"]
        method = found.intervals.method
        yield f"{len(found.points)} points on the hull; a in {low:.3f} .. {high:.3f} (90 %, {method})"


def optimum(table: pd.DataFrame, subset: str, delta: str) -> analysis.Fit:
    return analysis.fit(
        "chinchilla", table, where=f'subset == "{subset}"', delta=float(delta), bootstrap=0, bounds=WIDE,
        convention="6nd",
    )  # fmt: skip


def optima(table: pd.DataFrame, published: pd.DataFrame) -> Iterator[Verdict | str]:
    """Approach 3, the chinchilla law, where the lowest objective is known."""
    for (subset, delta), best_known in APPROACH_3.items():
        row = published.loc[(subset, delta)]
        theirs = from_logs(row["a"], row["b"], row["e"], row["alpha"], row["beta"])
        found = optimum(table, subset, delta)
        yield from as_good(f"objective, {subset}, {delta}", found, theirs, best_known, flops=FLOPS)


def others(table: pd.DataFrame, published: pd.DataFrame) -> Iterator[Verdict]:
    """Every other published optimum of a subset that is in the table."""
    known = set(table["subset"])
    for (subset, delta), row in published.iterrows():
        if subset in known and (subset, delta) not in APPROACH_3:
            found = optimum(table, subset, delta)
            ours, theirs = objective(found, found.solution), float(row["obj"])
            passed = ours <= theirs * (1 + 1e-5)  # the published value has six digits
            yield Verdict(
                f"objective, {subset}, {delta}", f"{theirs:.9g}", f"{ours:.9g}", "not above", passed
            )


def verdicts(folder: Path) -> Iterator[Verdict | str]:
    table = analysis.load(folder / "runs.csv", cells="all")
    yield from hulls(table, pd.read_csv(folder / "published_approach1.csv").set_index("label")["coef"])
    fits = pd.read_csv(folder / "published_approach3.csv", dtype={"delta": str})
    fits = fits.set_index(["subset", "delta"])
    yield from optima(table, fits)
    yield from others(table, fits)


if __name__ == "__main__":
    run("gemstones", verdicts)
