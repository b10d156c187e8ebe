"""CPU seconds of fitting 240 runs with Huber's delta 1e-3, against limits and peers, on one thread.

    python benchmarks/fit.py [--table runs.csv] [--peer-python venv/bin/python] [--starts 60]
    python benchmarks/fit.py --data FOLDER [--law NAME]

Without ``--table`` (params, tokens, loss: the 240 points of Hoffmann et al. 2022), a table of the same shape
is simulated. Limits: a fit 0.1 s warm, with 4,000 bootstraps 1 s, `scaling fit` with 4,000 bootstraps 6 s
cold, the objective within 1e-8 of the best that any contestant found, peak memory with 100,000 rows or with
10,000 replicates 2 GB. Peers: scipy's L-BFGS-B with analytic gradients from the grid of starts of Besiroglu
et al. 2024 (``--starts`` of their 4,500, time scaled up), and the package ``chinchilla`` (243 starts) of the
Python at ``--peer-python``. Exit code 1 when a limit is passed.

With ``--data``, a folder of published data (docs/reference/published.md), a table: every shipped law on real
runs, points, free parameters, CPU seconds without replicates cold (a process of its own, imports and
compiling included) and warm, limit 20 s warm.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

THREADS = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
os.environ |= THREADS  # read when numpy loads

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from scipy.optimize import minimize  # noqa: E402
from scipy.special import logsumexp  # noqa: E402

from analysis import CURVE_LAWS, LAWS, fit  # noqa: E402

DELTA = 1e-3
GRID = (np.arange(0, 30, 5), np.arange(0, 30, 5), np.arange(-1, 1.5, 0.5), *(np.arange(0, 2.5, 0.5),) * 2)
CHINCHILLA = """
import json, sys, tempfile, time
import numpy as np, pandas as pd
from chinchilla import Chinchilla
from chinchilla._metrics import log_huber
grid = dict(E=np.linspace(1.1, 1.9, 3), a=np.linspace(1, 10, 3), b=np.linspace(1, 10, 3),
            alpha=np.linspace(.1, .7, 3), beta=np.linspace(.1, .7, 3))
model = Chinchilla(tempfile.mkdtemp(), param_grid=grid, seed_ranges=dict(C=(1e18, 1e22), N_to_D=(10, 30)),
                   loss_fn=lambda y, p: log_huber(y, p, 1e-3), log_level=40)
for row in pd.read_csv(sys.argv[1]).itertuples():
    model.database.append(C=6 * row.params * row.tokens, N=row.params, D=row.tokens, loss=row.loss)
start = time.process_time()
model.fit(parallel=False)
print(json.dumps([time.process_time() - start, model.get_params()]))
"""


def simulated(rows: int = 240, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n, d = np.exp(rng.uniform(18, 23, rows)), np.exp(rng.uniform(20, 25, rows))
    loss = (1.82 + 480 * n**-0.348 + 2100 * d**-0.366) * np.exp(0.005 * rng.standard_t(3, rows))
    return pd.DataFrame({"params": n, "tokens": d, "loss": loss})


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    before = time.process_time()
    result = work()
    return time.process_time() - before, result


def objective(table: pd.DataFrame, p: dict[str, float]) -> float:
    value = p["E"] + p["A"] * table["params"] ** -p["alpha"] + p["B"] * table["tokens"] ** -p["beta"]
    r = np.abs(np.log(table["loss"]) - np.log(value)).to_numpy()
    return float(np.where(r <= DELTA, 0.5 * r**2, DELTA * (r - 0.5 * DELTA)).sum())


def scipy_grid(table: pd.DataFrame, starts: int) -> tuple[float, float]:
    """CPU seconds for the whole grid, from ``starts`` of it, and the best objective of those."""
    n, d, y = (np.log(table[c].to_numpy()) for c in ("params", "tokens", "loss"))

    def huber(x: np.ndarray) -> tuple[float, np.ndarray]:
        a, b, e, alpha, beta = x
        terms = np.stack([a - alpha * n, b - beta * d, np.full(len(n), e)])
        top = logsumexp(terms, axis=0)
        r, share = y - top, np.exp(terms - top)
        psi = np.clip(r, -DELTA, DELTA)
        slope = [share[0], share[1], share[2], -n * share[0], -d * share[1]]
        return float((psi * (r - 0.5 * psi)).sum()), -np.array([psi @ s for s in slope])

    grid = list(itertools.product(*GRID))
    chosen = grid[:: max(1, len(grid) // starts)]
    spent, ends = timed(lambda: [minimize(huber, x, jac=True, method="L-BFGS-B") for x in chosen])
    return spent * len(grid) / len(chosen), min(end.fun for end in ends)


def peer(python: str, file: Path) -> tuple[float, dict[str, float]] | str:
    done = subprocess.run([python, "-c", CHINCHILLA, str(file)], capture_output=True, text=True)
    if done.returncode:
        return done.stderr.strip().splitlines()[-1]
    spent, params = json.loads(done.stdout.strip().splitlines()[-1])
    return spent, params


def peak(rows: int, replicates: int) -> float:
    """GB that a process needs at most for a fit."""
    code = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from fit import simulated, fit
fit("chinchilla", simulated({rows}), delta=1e-3, bootstrap={replicates})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
"""
    return float(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    )


def cold(file: Path) -> float:
    """CPU seconds of `scaling fit` with 4,000 bootstraps in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "scaling.cli",
        "fit",
        str(file),
        "--delta",
        str(DELTA),
        "--bootstrap",
        "4000",
    ]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@dataclass(frozen=True)
class Case:
    """A law on a table of the data folder: ``columns`` are renamed, ``options`` go to ``fit``. No ``file``:
    nobody published runs, and they are simulated."""

    law: str
    file: str
    columns: dict[str, str] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    def table(self, folder: Path) -> pd.DataFrame:
        if not self.file:
            return low_precision()
        return pd.read_csv(folder / self.file).rename(columns=self.columns)


def low_precision(seed: int = 0) -> pd.DataFrame:
    """465 runs like those of Kumar et al. 2024, who published none, with .3 % noise."""
    rng = np.random.default_rng(seed)
    names = ("params", "tokens", "weight_bits", "activation_bits", "cache_bits")
    sizes = ([3e7, 6e7, 1.1e8, 2.2e8], [1.5e9, 3e9, 6e9, 1.3e10, 2.6e10], *([3.0, 4.0, 6.0, 12.0],) * 3)
    table = pd.DataFrame(list(itertools.product(*sizes)), columns=list(names)).sample(465, random_state=seed)
    truth = {"E": 2.8, "A": 4e3, "B": 2e4, "alpha": 0.5, "beta": 0.5, "gw": 2.7, "ga": 2.2, "gkv": 0.95}
    columns = dict(zip(("N", "D", *names[2:]), names, strict=True))
    loss = LAWS["precision"].values(truth, {x: table[column] for x, column in columns.items()})
    return table.assign(loss=loss * np.exp(0.003 * rng.standard_normal(len(table))))


EPOCH = {"file": "chinchilla_epoch/runs.csv", "options": {"where": "excluded_by_epoch == 0"}}
REPEATED = {"file": "muennighoff/runs.csv", "options": {"where": "in_default_fit_182 == 1"}}
MULTIPLIED = {"file": "gadre/runs.csv", "columns": {"loss_c4_val": "loss"},
              "options": {"where": 'dataset == "c4_original"'}}  # fmt: skip
ADDITION = {"file": "bnsl_4digit_addition/runs.csv",
            "options": {"objective": "log1p-ls", "bounds": {"d1": (160, 928)}}}  # fmt: skip
CASES = [
    *(Case(law, **EPOCH) for law in ("chinchilla", "kaplan")),
    *(Case(f"power{offset}{x}", **EPOCH) for offset in ("", "-offset") for x in ("", "-params", "-tokens")),
    *(Case(law, **MULTIPLIED) for law in ("tied", "over-training")),
    *(Case(f"bnsl-{n}-tokens", columns={"dataset_size": "tokens"}, **ADDITION) for n in (1, 2)),
    *(Case(law, **REPEATED) for law in ("data-constrained", "data-constrained-tied", "data-bounded")),
    Case("farseer", "scalebench/farseer/train.csv", options={"objective": "raw-ls"}),
    *(Case(law, "") for law in ("precision", "precision-weights")),
    *(Case(law, "multipower_lr_curves/runs.csv") for law in CURVE_LAWS),
]
SLOW = {  # law -> why it takes longer than the limit
    "multi-power": "16,000 times all derivatives in 7 parameters of 437 sums over all changes of the rate"
}


def curves(law: str, table: pd.DataFrame) -> Callable[[], Any]:
    """A fit of three whole curves of 25M parameters, as experiments/published makes it."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "experiments" / "published"))
    from multipower_lr_curves import rates

    rows = table[(table["model_size_M"] == 25) & (table["split"] == "train")]
    schedules = {name: rates(name) for name in rows["schedule"].unique()}
    return partial(fit, law, rows, schedules=schedules, curve="schedule", delta=1e-3, bootstrap=0)


def time_case(case: Case, folder: Path) -> tuple[int, int, float, float, float]:
    """Points, free parameters, CPU seconds cold and warm (the least of two), and the objective."""
    table = case.table(folder)
    before = time.process_time()  # what imports took
    if case.law in CURVE_LAWS:
        work = curves(case.law, table)
    else:
        work = partial(fit, case.law, table, bootstrap=0, **case.options)
    cold, found = timed(work)
    warm = min(timed(work)[0] for _ in range(2))
    free = len(found.law.names) - len(found.fixed)
    return found.objective.n, free, before + cold, warm, found.objective.value


def laws(folder: Path, chosen: str | None) -> int:
    """The table, each law in a process of its own; how many are late without a reason."""
    if chosen is not None:
        (case,) = (case for case in CASES if case.law == chosen)
        print(json.dumps(time_case(case, folder)))
        return 0
    late = 0
    print(f"{'law':<24}{'points':>7}{'free':>6}{'cold s':>9}{'warm s':>9}  objective")
    for case in CASES:
        command = [sys.executable, __file__, "--data", str(folder), "--law", case.law]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        points, free, cold, warm, value = json.loads(done.stdout.splitlines()[-1])
        why = SLOW.get(case.law, "simulated" if not case.file else "")
        print(f"{case.law:<24}{points:>7}{free:>6}{cold:>9.2f}{warm:>9.2f}  {value:.8g}  {why}", flush=True)
        late += warm > 20 and case.law not in SLOW
    print(
        f"shipped, without a case: {', '.join({*LAWS, *CURVE_LAWS} - {case.law for case in CASES}) or 'none'}"
    )
    return late


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, help="runs: params, tokens, loss")
    parser.add_argument("--peer-python", help="a Python that has the package chinchilla")
    parser.add_argument("--starts", type=int, default=60)
    parser.add_argument("--data", type=Path, help="folder of published data: time every shipped law")
    parser.add_argument("--law", help="of --data, this one alone")
    asked = parser.parse_args()
    if asked.data is not None:
        return int(bool(laws(asked.data, asked.law)))
    table = simulated() if asked.table is None else pd.read_csv(asked.table)
    if "excluded_by_epoch" in table.columns:
        table = table[table["excluded_by_epoch"] == 0]
    table = table[["params", "tokens", "loss"]].reset_index(drop=True)
    fit("chinchilla", table, delta=DELTA, bootstrap=0)
    once, found = timed(lambda: fit("chinchilla", table, delta=DELTA, bootstrap=0))
    many, _ = timed(lambda: fit("chinchilla", table, delta=DELTA, bootstrap=4000))
    grid, least = scipy_grid(table, asked.starts)
    ours = found.objective.value
    best = {"ours": ours, f"scipy, {asked.starts} of its starts": least}
    lines = [("fit, warm", once, 0.1, "s"), ("fit and 4,000 bootstraps, warm", many, 1.0, "s")]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "runs.csv"
        table.to_csv(file, index=False)
        lines.append(("scaling fit, 4,000 bootstraps, cold", cold(file), 6.0, "s"))
        other = peer(asked.peer_python, file) if asked.peer_python else "no --peer-python"
    lines += [
        ("peak, 100,000 rows", peak(100_000, 0), 2.0, "GB"),
        ("peak, 10,000 replicates", peak(240, 10_000), 2.0, "GB"),
    ]
    print(f"{len(table)} rows, numpy {np.__version__}, Python {sys.version.split()[0]}")
    print(f"scipy, 4,500 starts: {grid:.1f} s ({grid / once:.0f} x ours)")
    if isinstance(other, str):
        print(f"chinchilla: skipped ({other})")
    else:
        best["chinchilla"] = objective(table, other[1])
        print(f"chinchilla: {other[0]:.1f} s ({other[0] / once:.0f} x ours)")
    for name, value in best.items():
        print(f"objective, {name}: {value:.13g}")
    late = [name for name, spent, limit, _ in lines if spent > limit]
    for name, spent, limit, unit in lines:
        print(f"{name}: {spent:.3f} {unit}, limit {limit}")
    if ours > min(best.values()) * (1 + 1e-8):
        late.append("objective")
    return int(bool(late))


if __name__ == "__main__":
    sys.exit(main())
