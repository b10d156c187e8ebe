"""Forecasts of published runs: how often intervals of a bigger run hold its loss, and how wide they are.

    python benchmarks/forecasts.py [FOLDER ...] [--out DISCREPANCY.json] [--pairs PAIRS.parquet] [--workers 2]
    python benchmarks/forecasts.py --simulate 200

FOLDER: the folder of published runs (left out: SCALING_PUBLISHED_DATA), or any folder of CSV tables with
params, tokens and loss, whose first directory, or file, names the family. Every set is split at up to four
computes: the law is fitted to the runs 2, 5, 10 and 30 times below, and predicts those at it (protocol in
``benchmarks/README.md``). Everything is of log loss, nominal 90 %.

Constants of the discrepancy are derived leaving one family out at a time, and what is printed scores the
families left out; those of all families are written to ``--out``. Of any other folder the shipped constants
are scored. ``--pairs`` keeps the rows, and takes them from there where the file is.

``--simulate``: so many tables of a known law on each of two designs, and a run 2.5 and 10 times beyond:
coverage, and the width over that of ``predict`` at c9265ab.

Against: ``predict`` and ``freeze`` as they were at commit c9265ab (their formulas, on the fits of today), a
pairs bootstrap with residuals added, and, at isoFLOP minima, the power law with offset through the minima.
Exit code 1 where the published folder misses one of ``GOALS`` that had been reached."""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from pathlib import Path

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import pandas as pd
from forecasting.families import MEANS, Scale, constants, kappas, likelihoods
from forecasting.pairs import at_minima, pairs
from forecasting.scores import by_family, macro_interval, relative, scored, summary
from forecasting.sets import Set, of_folder, published
from forecasting.simulated import BEYOND, DESIGNS, NOISES, simulate
from scipy import stats

from analysis.fits.discrepancy import shipped

REFERENCES = ("pairs", "freeze", "predict")
LEVELS = (0.5, 0.68, 0.8, 0.9, 0.95, 0.99)
# of our 90 % interval on the families left out: at least, at most
GOALS: dict[str, tuple[float, float]] = {
    "macro": (0.87, 0.93), "least family": (0.60, 1.0), "10x": (0.85, 1.0), "30x": (0.85, 1.0),
    "score / freeze": (0.0, 0.65),
    **{f"macro {level:.0%}": (level - 0.08, level + 0.08) for level in LEVELS if level != 0.9},
}  # fmt: skip
WIDTH = 0.06
# of ``GOALS``, with the constants that are shipped; nor was ``WIDTH``
NOT_REACHED = {"30x", "macro 50%", "macro 68%"}


def left_out(rows: pd.DataFrame) -> dict[str, Scale]:
    """The constants that each family is scored with, from all others."""
    at = {mean: likelihoods(rows, mean) for mean in MEANS}
    families = rows["family"].unique()
    return {f: constants(at, set(families) - {f}) for f in families}


def ours(rows: pd.DataFrame, of: dict[str, Scale], level: float = 0.9) -> pd.DataFrame:
    """Our intervals with the constants ``of`` each family."""
    kappa, mean = (
        rows["family"].map({f: getattr(one, x) for f, one in of.items()}) for x in ("kappa", "mean")
    )
    se = np.sqrt(rows["law"] ** 2 + rows["run"] ** 2 + (kappa * rows["stated"]) ** 2)
    half = stats.norm.ppf(0.5 + level / 2) * se.to_numpy()
    centre = (rows["centre"] - mean * kappa * rows["lean"]).to_numpy()
    return scored(rows, centre - half, centre + half, level)


def _pairs(one: Set) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pairs(one), pd.DataFrame(at_minima(one))


def collect(sets: list[Set], workers: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of :func:`pairs` and of :func:`at_minima`, of all sets."""
    largest_first = sorted(sets, key=lambda one: -len(one.runs))
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(_pairs, largest_first))
    runs, optima = (pd.concat([part[i] for part in found if len(part[i])], ignore_index=True) if any(
        len(part[i]) for part in found) else pd.DataFrame() for i in (0, 1))  # fmt: skip
    return runs, optima


def report(rows: pd.DataFrame, optima: pd.DataFrame, of: dict[str, Scale]) -> dict[str, float]:
    """Print every table, ours with the constants ``of`` each family; returns the summary of ours."""
    columns = {name: scored(rows, rows[f"{name}_low"].to_numpy(), rows[f"{name}_high"].to_numpy())
               for name in REFERENCES}  # fmt: skip
    mine = ours(rows, of)
    against = {name: columns[name] for name in ("pairs", "freeze")}
    methods = {**columns, "ours": mine}
    table = pd.DataFrame({name: summary(one, against) for name, one in methods.items()})
    splits = rows.groupby(["set", "split"]).ngroups
    number = rows[["set", "family"]].nunique()
    print(f"{number['set']} sets of {number['family']} families, {splits} splits, {len(rows)} pairs")
    print(table.T.to_string(float_format="{:.3f}".format))
    low, high = macro_interval(mine)
    print(f"\nmacro coverage of ours, families drawn anew: {low:.2f} .. {high:.2f} (90 %)")
    each = pd.DataFrame({name: by_family(one)["inside"] for name, one in methods.items()})
    print("\ncoverage by family\n" + each.to_string(float_format="{:.2f}".format))
    reliable = reliability(rows, of)
    shown = reliable.to_string(float_format="{:.2f}".format)
    print("\ncoverage of ours at other levels, and families drawn anew (90 %)\n" + shown)
    if len(optima):
        _report_optima(optima, of)
    by_level = {f"macro {level:.0%}": value for level, value in reliable["macro"].items() if level != 0.9}
    return table["ours"].to_dict() | by_level


def reliability(rows: pd.DataFrame, of: dict[str, Scale]) -> pd.DataFrame:
    """Coverage of ours at each of ``LEVELS``: pooled, macro, and an interval of that."""
    found = {}
    for level in LEVELS:
        one = ours(rows, of, level)
        low, high = macro_interval(one)
        macro = by_family(one)["inside"].mean()
        found[level] = {"pooled": one["inside"].mean(), "macro": macro, "low": low, "high": high}
    return pd.DataFrame(found).T


def _report_optima(optima: pd.DataFrame, of: dict[str, Scale]) -> None:
    mine = ours(optima, of)
    theirs = scored(optima, optima["envelope_low"].to_numpy(), optima["envelope_high"].to_numpy())
    print(f"\nat {len(optima)} isoFLOP minima of {optima['family'].nunique()} families")
    for name, one in (("power law with offset through the minima", theirs), ("ours", mine)):
        rms = np.sqrt((one["error"] ** 2).mean())
        print(
            f"  {name}: coverage {one['inside'].mean():.2f}, median width {one['width'].median():.1%}, "
            f"rms error {rms:.1%}"
        )
    print(f"  score of ours over theirs {relative(mine, theirs):.2f}")


def report_simulated(number: int) -> None:
    """Print coverage and widths where the law is right."""
    print(f"{number} tables each; in brackets Fit.predict at c9265ab")
    for beyond, design, noise in itertools.product(BEYOND, DESIGNS, NOISES):
        found = simulate(design, noise, number, beyond)
        covered, before = found["inside"].mean(), found["inside_before"].mean()
        width = found["width"].median()
        ratio = width / found["before"].median()
        said = f"coverage {covered:.3f} ({before:.3f}), median width {width:.2%} ({ratio:.2f}x)"
        print(f"  {beyond:g}x {design} {noise}: {said}")


def derived(rows: pd.DataFrame, found: dict[str, float]) -> dict[str, object]:
    """The constants of all families, and where they are from."""
    all_ = constants({mean: likelihoods(rows, mean) for mean in MEANS}, rows["family"].unique())
    now = shipped()
    return {
        "kappa": round(all_.kappa, 4),
        "spread": round(all_.spread, 4),
        "mean": all_.mean,
        "weight": now.weight,
        "backtest": now.backtest,
        "worse": now.worse,
        "promised": now.promised,
        "origin": {
            "date": date.today().isoformat(),
            "sets": sorted(rows["set"].unique()),
            "pairs": len(rows),
            "splits": rows.groupby(["set", "split"]).ngroups,
            "kappa of families, 90 %": {
                f: [round(end, 2) for end in ends] for f, ends in kappas(likelihoods(rows, all_.mean)).items()
            },
            "families left out": {name: round(value, 4) for name, value in found.items()},
        },
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, help="write the constants of all families")
    parser.add_argument("--pairs", type=Path, help="keep the rows, or take them from there")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--simulate", type=int, help="tables of a known law, in place of published ones")
    asked = parser.parse_args()
    if asked.simulate:
        report_simulated(asked.simulate)
        return 0
    given = os.environ.get("SCALING_PUBLISHED_DATA")
    folders = asked.folders or ([Path(given)] if given else [])
    if not folders:
        parser.error("name a folder of tables, or set SCALING_PUBLISHED_DATA to that of published runs")
    known = [folder for folder in folders if (folder / "EXPECTED.json").exists()]
    sets = [one for f in folders for one in (published(f) if f in known else of_folder(f))]
    minima = asked.pairs and asked.pairs.with_suffix(".minima.parquet")
    if asked.pairs and asked.pairs.exists():
        rows, optima = pd.read_parquet(asked.pairs), pd.read_parquet(minima)
    else:
        rows, optima = collect(sets, asked.workers)
        if asked.pairs:
            rows.to_parquet(asked.pairs)
            optima.to_parquet(minima)
    if not len(rows):
        print(
            "no set has a split: 10 runs of 3 sizes over 5x in compute, and runs twice above them, are needed"
        )
        return 2
    derive = bool(known) and rows["family"].nunique() > 2
    now = shipped()
    used = dict.fromkeys(rows["family"].unique(), Scale(now.kappa, now.spread, now.mean))
    found = report(rows, optima, left_out(rows) if derive else used)
    if not derive:
        return 0
    missed = {name: found[name] for name, (low, high) in GOALS.items() if not low <= found[name] <= high}
    print("\ngoals missed: " + (", ".join(f"{k} {v:.3f}" for k, v in missed.items()) or "none"), end="; ")
    width = found["median width"]
    print(f"median width {width:.1%}, wanted below {WIDTH:.0%}, {'' if width < WIDTH else 'not '}reached")
    new = derived(rows, found)
    for name in ("kappa", "spread", "mean"):
        print(f"{name} {new[name]} (shipped {getattr(now, name)})")
    if asked.out:
        asked.out.write_text(json.dumps(new, indent=1) + "\n")
    return bool(missed.keys() - NOT_REACHED)


if __name__ == "__main__":
    sys.exit(main())
