"""Chinchilla's third approach, refitted by Epoch AI (Besiroglu et al. 2024, arXiv:2404.10102).

Data: github.com/epoch-research/analyzing-chinchilla at 92258837425e1b5f2851d624287f0120583a3d0e,
data/svg_extracted_data.csv: 245 points read off figure 4 of Hoffmann et al. 2022 (arXiv:2203.15556). The
repository states no licence: get it from there, do not pass it on. ``analysis.load`` reads that file as it
is. Here it is chinchilla_epoch/runs.csv, with ``excluded_by_epoch`` 1 in the five rows of highest loss, which
they leave out.

    python experiments/published/chinchilla_epoch.py [FOLDER] [--json]
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from verdicts import Verdict, as_good, from_logs, run

import analysis

CHINCHILLA = 5.76e23  # FLOPs of the 70B model
# data_analysis.ipynb: fitted parameters, those with all rows (a comment there), and 95 % of 4,000 bootstraps
PUBLISHED = from_logs(a=6.17795598, b=7.64273236, e=0.59711196, alpha=0.34781303, beta=0.36585412)
PUBLISHED_ALL_ROWS = from_logs(a=6.13834459, b=9.43584213, e=0.63412782, alpha=0.3453568, beta=0.45189211)
PUBLISHED_95 = {"alpha": (0.317, 0.373), "beta": (0.331, 0.415), "E": (1.769, 1.871)}
BEST_KNOWN = 0.0010182740178
BEST_KNOWN_ALL_ROWS = 0.00182601052


def verdicts(folder: Path) -> Iterator[Verdict | str]:
    table = analysis.load(folder / "runs.csv")
    kept = {"delta": 1e-3, "where": "excluded_by_epoch == 0", "bootstrap": 4000, "level": 0.95}

    by_case = analysis.fit("chinchilla", table, method="case", **kept)
    yield from as_good("objective, 240 rows", by_case, PUBLISHED, BEST_KNOWN, flops=CHINCHILLA)

    by_size = analysis.fit("chinchilla", table, **kept)
    yield f"95 %: published | the same bootstrap, of rows | our default, {by_size.intervals.method}"
    for name, published in PUBLISHED_95.items():
        ends = [published, *(fit.intervals.params[name] for fit in (by_case, by_size))]
        yield f"  {name:<5} " + " | ".join(f"{low:.3f} .. {high:.3f}" for low, high in ends)

    every = analysis.fit("chinchilla", table, delta=1e-3, bootstrap=0)
    yield from as_good(
        "objective, all 245 rows", every, PUBLISHED_ALL_ROWS, BEST_KNOWN_ALL_ROWS, flops=CHINCHILLA
    )


if __name__ == "__main__":
    run("chinchilla_epoch", verdicts)
