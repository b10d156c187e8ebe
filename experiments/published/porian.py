"""Kaplan against Chinchilla, resolved step by step (Porian et al. 2024, arXiv:2406.19146).

Data: github.com/formll/resolving-scaling-law-discrepancies at 0dc60d91b8a525858a3067fc9e4a46ff5374cc6f (MIT),
data/summary_df{,_att,_kaplan_tuned_hparams,_owt2}.pickle.xz: the isoFLOP points of each configuration as
porian/runs.csv, and the exponents with 95 % intervals, computed from their bootstraps, as published_fits.csv.

Per budget, the minimum of an interpolation of log L on log N; its spread under the noise between seeds gives
the weight in the regression of log N* on log C, and the interval.

    python experiments/published/porian.py [FOLDER] [--json]
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from verdicts import Verdict, run

import analysis

CONFIGURATION = ["dataset", "hparams", "warmup", "decay", "param_count", "val"]
SEED_NOISE = {"rw": 0.002, "owt2": 0.01}  # nats; their configs.py, the value that their code comes to use
TOLERANCE = 0.004  # replicates are random numbers: other seeds move an exponent by up to .003


def verdicts(folder: Path) -> Iterator[Verdict | str]:
    table = analysis.load(folder / "runs.csv")
    for row in pd.read_csv(folder / "published_fits.csv").to_dict("records"):
        mine = (table[CONFIGURATION] == [row[column] for column in CONFIGURATION]).all(axis=1)
        found = analysis.estimate(
            "interpolation", table[mine], noise=SEED_NOISE[row["dataset"]], bootstrap=1000, level=0.95
        )
        published = row["a_bs_median_weighted"]
        ours = found.solution["a"]
        name = "a, " + " ".join(row[column] for column in CONFIGURATION[:-1])
        close = abs(ours - published) <= TOLERANCE
        yield Verdict(name, f"{published:.4f}", f"{ours:.4f}", f"within {TOLERANCE}", close)
        low, high = found.intervals.params["a"]
        yield f"95 %: published {row['a_ci_lo']:.4f} .. {row['a_ci_hi']:.4f}, ours {low:.4f} .. {high:.4f}"


if __name__ == "__main__":
    run("porian", verdicts)
