"""IsoFLOP runs of Llama models (Beck et al. 2025, arXiv:2510.02228): approaches 2 and 3.

Data: github.com/NX-AI/xlstm_scaling_laws at 604bb3062d3a7681bb33e467108cb0a6f81267fc,
data/isoflop_*_wandb_data.pkl (read with an unpickler that knows plain types only) as xlstm_isoflop/runs.csv,
one row per run with its sweep in ``tag``; their stored L(N, D) fits as published_lnd_fits.csv. The repository
states no licence: get it from there, do not pass it on.

Taken: the Llama runs of context 8192 that were evaluated at their last step. Two sweeps, iso1 and iso2, train
the same sizes on the same compute with batches of 128 and 64 sequences.

    python experiments/published/xlstm_isoflop.py [FOLDER] [--json]
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from verdicts import Verdict, best_size, exponent, from_logs, objective, run

import analysis

TAKEN = 'arch == "llama" and context == 8192 and params != empty and loss != empty'
BEST_KNOWN = 0.00151628  # refits with scipy on these rows, to 8 decimals
NEAREST = 0.00159508  # at the stored fit that comes nearest
DIGITS = 0.5e-8
FLOPS = 1e22
BATCHES = {128: "sclaw_llama_iso2", 64: "sclaw_llama_iso1"}  # the sweep to leave out for one batch at 3e18


def runs(folder: Path) -> pd.DataFrame:
    table = analysis.load(folder / "runs.csv", where=TAKEN, cells="all").query("val_step == steps")
    return budgets(table)


def budgets(table: pd.DataFrame) -> pd.DataFrame:
    """The mean compute of a sweep as its budget: several lie closer than runs of one."""
    return table.assign(budget=table.groupby("tag")["flops"].transform("mean"))


def approach_3(table: pd.DataFrame, published: pd.DataFrame) -> Iterator[Verdict | str]:
    """The chinchilla law beside their stored fits, whose rows are not known."""
    fit = analysis.fit("chinchilla", table, delta=1e-3)
    theirs = {}
    for row in published[published["model_type"] == "llama"].to_dict("records"):
        params = (row[f"optim_params/{name}"] for name in ("a", "b", "e", "alpha", "beta"))
        params = from_logs(*params)
        name = f"{row['experiment_set']}, {row['token_param_range']} tokens per parameter"
        theirs[name] = (objective(fit, params), exponent(params), best_size(params, FLOPS))
    name = min(theirs, key=lambda key: theirs[key][0])
    least, ours = theirs[name][0], objective(fit, fit.solution)
    shown, rule = f"{least:.8f}", f"best known {BEST_KNOWN}, to its digits"
    good = ours <= BEST_KNOWN + DIGITS
    yield Verdict("objective, 161 runs, Huber 1e-3", shown, f"{ours:.8f}", rule, good)
    rule = f"nearest stored fit, {NEAREST}"
    yield Verdict("objective at the stored fit", shown, shown, rule, abs(least - NEAREST) <= DIGITS)
    low, high = fit.intervals.params["a"]
    size, at = best_size(fit.solution, FLOPS), exponent(fit.solution)
    yield f"a {at:.4f} [{low:.3f}, {high:.3f}], N* at {FLOPS:.0e} {size:.3g}; {fit.status.message}"
    for name, (value, a, size) in theirs.items():
        yield f"stored: {name}: objective {value:.8f}, a {a:.3f}, N* at {FLOPS:.0e} {size:.3g}"


def estimates(table: pd.DataFrame) -> Iterator[str]:
    """Approach 2 and the hull, and what the parabola owes to the width of its curves."""
    for kind in ("parabola", "interpolation", "hull"):
        found = analysis.estimate(kind, table)
        yield f"{_stated(found)}; N* at {FLOPS:.0e} {found.predict(FLOPS)['N'].iloc[0]:.3g}"
    attention = 6 * table["n_blocks"] * table["width"] * table["context"] * table["tokens"]  # causal
    found = analysis.estimate("parabola", budgets(table.assign(flops=table["flops"] + attention)))
    yield f"{_stated(found)}, attention counted ({(attention / table['flops']).max():.0%} of 6 N D and less)"
    best = table.loc[table.groupby("tag")["loss"].idxmin()].set_index("tag")["params"]
    share = table["params"] / table["tag"].map(best)
    for reach in (3.0, 2.0):
        near = table[share.between(1 / reach, reach)]
        found = analysis.estimate("parabola", near)
        yield f"{_stated(found)} within {reach:g}x of each sweep's best size ({len(near)} runs)"


def batches(table: pd.DataFrame) -> Iterator[Verdict | str]:
    """The lowest compute was trained with two batch sizes; which of them one takes decides the exponent."""
    ends = {}
    for batch, other in BATCHES.items():
        found = analysis.estimate("parabola", table[table["tag"] != other])
        ends[batch] = found.intervals.params["a"]
        yield f"{_stated(found)}, batch {batch} at 3e18"
    small, large = (table[table["tag"] == tag].set_index("params")["loss"] for tag in BATCHES.values())
    worse = (large - small).dropna()
    span = f"{worse.min():.3f} to {worse.max():.3f} nats higher in {len(worse)} pairs"
    yield f"batch 128 against 64, same size and compute: loss {span}"
    shown = [f"{low:.3f} .. {high:.3f}" for low, high in (ends[64], ends[128])]
    apart = ends[64][1] < ends[128][0]
    yield Verdict("a, batch 64 | 128 at 3e18", *shown, "90 % intervals are apart", apart)


def _stated(found: analysis.Estimate) -> str:
    low, high = found.intervals.params["a"]
    return (
        f"{found.kind}: a {found.solution['a']:.4f} [{low:.3f}, {high:.3f}] from {len(found.points)} optima"
    )


def verdicts(folder: Path) -> Iterator[Verdict | str]:
    table = runs(folder)
    yield from approach_3(table, pd.read_csv(folder / "published_lnd_fits.csv"))
    yield from estimates(table)
    yield from batches(table)


if __name__ == "__main__":
    run("xlstm_isoflop", verdicts)
