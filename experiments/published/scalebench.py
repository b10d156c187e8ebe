"""ScaleBench (Li et al. 2026, arXiv:2604.22753): 65 laws of 8 tasks, each fitted to all training runs.

Data: github.com/PlanarG/active-sl at e0a58ffde4f6fdfb20880d47d6d180fdbcb1440d (code MIT, data CC BY 4.0),
benchmark/dataset/<task>_scaling_law/{train,test}-00000-of-00001.parquet as
scalebench/<task>/{train,test}.csv. Formulas, order and bounds of the laws' parameters were transcribed as
scalebench/laws.json: per task inputs, output and laws {params, bounds, formula[, where]}; for the mixture of
domains, of output i: pi its domain's share, x1 .. x4 the others', p1 .. p5 all.

Objective, as there: least squares on the loss within the bounds, a fit per group. Peers, on the same
objective from the same random starts (log-uniform where the lower bound is positive): scipy's least_squares
(trf, x_scale="jac") and L-BFGS-B, each from its four best ends once more, for ten times as long. Where the
outputs of a law share no parameter, each is a problem of its own, for them as for us.

    python experiments/published/scalebench.py [FOLDER] [--json]
    SCALEBENCH_PEERS=64 python experiments/published/scalebench.py    # all laws, 64 starts: hours

Without SCALEBENCH_PEERS: the tasks in QUICK, laws in which a peer needs less than a second, and 4 starts.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from formulas import law
from scipy.optimize import least_squares, minimize
from verdicts import SLACK, Verdict, run

import analysis

jax.config.update("jax_cpu_enable_async_dispatch", False)  # calls of microseconds, from one thread

QUICK = {"parallel": 10, "sparsity": 2, "moe": 2}  # laws of these tasks in the quick form
STARTS = 4
NEWTON, QUASI = 200, 300  # iterations that a peer may take from a start
BEST, FURTHER = 4, 10  # the best of its ends go on, for as many times more
# mean and standard deviation of the target score over laws, all runs bought: their Table 2
PUBLISHED = {"lr_bsz": (0.04, 0.67), "domain_mixture": (0.81, 0.51), "vocab": (0.93, 0.16),
             "parallel": (0.99, 0.00), "moe": (0.81, 0.04), "data_constrained": (0.79, 0.23),
             "sparsity": (0.37, 0.10), "farseer": (0.91, 0.01)}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One fit: a law on the runs of one group (and output)."""

    law: analysis.Law
    train: pd.DataFrame
    test: pd.DataFrame
    groups: dict[str, Any] = field(default_factory=dict)

    def rows(self) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Inputs, losses, and which value of an output's own parameters each row takes."""
        own = self.groups.get("own", ())
        side = np.unique(self.train["output"], return_inverse=True)[1] if own else np.zeros(len(self.train))
        inputs = {x: self.train[x].to_numpy(float) for x in self.law.inputs}
        return inputs, self.train["loss"].to_numpy(), side.astype(int)


@cache
def programs(function: Any, params: tuple[str, ...], names: tuple[str, ...]) -> tuple[Any, Any, Any]:
    """Residuals (n,) at parameters (P,) by their full names; their Jacobian; half their squares' sum and its
    gradient: of a law by function, compiled once for its groups."""

    def residuals(u: Any, rows: Any) -> Any:
        inputs, loss, side = rows
        at = {p: [i for i, n in enumerate(names) if n.partition("[")[0] == p] for p in params}
        values = {p: sum(u[i] * (side == k) if each[1:] else u[i] for k, i in enumerate(each))
                  for p, each in at.items()}  # fmt: skip
        return function(**values, **inputs) - loss

    half = jax.value_and_grad(lambda u, rows: 0.5 * (residuals(u, rows) ** 2).sum())
    return jax.jit(residuals), jax.jit(jax.jacfwd(residuals)), jax.jit(half)


def tables(folder: Path, task: Mapping[str, Any], part: str) -> pd.DataFrame:
    """Runs with the formulas' names: a row per run, of several outputs one per run and output."""
    table = pd.read_csv(folder / f"{part}.csv")
    if "outputs" not in task:
        names = {column: name for name, column in task["inputs"].items()} | {task["output"]: "loss"}
        return table[[*names, "group"]].rename(columns=names)
    shares, rows = table[list(task["inputs"].values())], []
    for i, column in enumerate(task["outputs"]):
        rest = shares.drop(columns=shares.columns[i])
        rows.append(
            shares.set_axis(list(task["inputs"]), axis=1)
            .join(rest.set_axis([f"x{k + 1}" for k in range(rest.shape[1])], axis=1))
            .assign(pi=shares.iloc[:, i], loss=table[column], output=str(i + 1), group=table["group"])
        )
    return pd.concat(rows, ignore_index=True)


def parts(folder: Path, name: str, task: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[Part]:
    """The separate fits of one law."""
    several = "outputs" in task
    own = given["per_output_params"] if several else []
    params = [*given["shared_params"], *own] if several else given["params"]
    bounds = [*given["shared_bounds"], *given["per_output_bounds"]] if several else given["bounds"]
    formula = given["formula_output_i" if several else "formula"]
    inputs = ["pi", "x1", "x2", "x3", "x4", *task["inputs"]] if several else task["inputs"]
    made = law(name, formula, dict(zip(params, bounds, strict=True)), inputs, given.get("where", ()))
    shared = bool(several and given["shared_params"])
    keys = ["group", "output"] if several and not shared else ["group"]
    train, test = (tables(folder, task, part) for part in ("train", "test"))
    ends = dict(list(test.groupby(keys)))
    for key, rows in train.groupby(keys):
        yield Part(made, rows, ends[key], {"groups": "output", "own": tuple(own)} if shared else {})


def peers(part: Part, names: tuple[str, ...], count: int, seed: int) -> dict[str, float]:
    """The lowest objective that each peer reached; in a float64 scope."""
    low, high = np.array([part.law.domains[n.partition("[")[0]] for n in names]).T
    rows, (residuals, jacobian, half) = part.rows(), programs(part.law.function, part.law.names, names)

    def safe(u: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = (np.asarray(x) for x in half(u, rows))
        good = np.isfinite(value) and np.isfinite(gradient).all()
        return (float(value), gradient) if good else (1e300, np.zeros(len(u)))

    def trf(start: np.ndarray, most: int = 1) -> tuple[float, np.ndarray]:
        try:
            found = least_squares(
                lambda u: np.asarray(residuals(u, rows)), start, jac=lambda u: np.asarray(jacobian(u, rows)),
                bounds=(low, high), method="trf", x_scale="jac", max_nfev=most * NEWTON, ftol=1e-10,
                xtol=1e-10, gtol=1e-10,
            )  # type: ignore[arg-type]  # fmt: skip
        except (ValueError, np.linalg.LinAlgError):  # residuals that are not finite: the start is lost
            return np.inf, start
        return found.cost, found.x

    def quasi(start: np.ndarray, most: int = 1) -> tuple[float, np.ndarray]:
        options = {"maxiter": most * QUASI, "maxfun": 20 * most * QUASI, "ftol": 1e-15, "gtol": 1e-10}
        bounds = list(zip(low, high, strict=True))
        found = minimize(safe, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        return found.fun, found.x

    def lowest(peer: Callable[..., tuple[float, np.ndarray]]) -> float:
        ends = sorted(map(peer, starts), key=lambda end: end[0])
        return min(peer(np.clip(end, low, high), FURTHER)[0] for _, end in ends[:BEST])

    z, above = np.random.default_rng(seed).random((count, len(low))), np.maximum(low, 1e-300)
    starts = np.where(low > 0, above * (np.maximum(high, above) / above) ** z, low + z * (high - low))
    starts = np.clip(starts, low, high)
    return {"trf": lowest(trf), "L-BFGS-B": lowest(quasi)}


def instance(name: str, pieces: list[Part], count: int) -> tuple[Verdict, float, str]:
    """Ours against the peers, summed over the separate fits; the target score; how ours came about."""
    ours, theirs, agree, test = 0.0, dict.fromkeys(("trf", "L-BFGS-B"), 0.0), [], []
    for i, part in enumerate(pieces):
        fit = analysis.fit(part.law, part.train, objective="raw-ls", bootstrap=0, cells="all", **part.groups)
        names = tuple(fit.solution)
        with np.errstate(all="ignore"), jax.enable_x64(True):
            found = np.array([fit.solution[n] for n in names])
            ours += float(programs(part.law.function, part.law.names, names)[2](found, part.rows())[0])
            reached = peers(part, names, count, zlib.crc32(f"{name}/{i}".encode()))
        theirs = {peer: value + reached[peer] for peer, value in theirs.items()}
        predicted = fit.predict(part.test)["loss"].to_numpy()
        test.append(np.array([predicted, part.test["loss"]]))
        agree.append(f"{fit.starts.agree}/{fit.starts.n}")
    best = min(theirs, key=lambda peer: theirs[peer])
    rule = f"at or below both peers, to {SLACK:g}"
    passed = bool(ours <= theirs[best] * (1 + SLACK))
    verdict = Verdict(name, f"{theirs[best]:.8g} ({best})", f"{ours:.8g}", rule, passed, "peer")
    predicted, truth = np.concatenate(test, axis=1)
    score = 1 - ((predicted - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    low = min(agree, key=lambda pair: int(pair.partition("/")[0]))
    return verdict, float(np.clip(np.nan_to_num(score, nan=-1.0), -1, 1)), low


def verdicts(folder: Path) -> Iterator[Verdict | str]:
    asked = os.environ.get("SCALEBENCH_PEERS")
    count, every = int(asked or STARTS), asked is not None
    yield f"peers: {count} starts each{'' if every else '; the quick form, see the docstring'}"
    for task, given in json.loads((folder / "laws.json").read_text()).items():
        scores = []
        for key, about in list(given["laws"].items())[: None if every else QUICK.get(task, 0)]:
            name = f"{task} {key}"
            verdict, score, agree = instance(name, list(parts(folder / task, name, given, about)), count)
            scores.append(score)
            yield verdict
            yield f"target score {score:.3f}; starts that agree (fewest of its fits): {agree}"
        if scores:
            mean, sd = PUBLISHED[task]
            yield (f"{task}, {len(scores)} laws: target score {np.mean(scores):.2f} +- {np.std(scores):.2f}, "
                   f"published with all runs {mean:.2f} +- {sd:.2f}")  # fmt: skip


if __name__ == "__main__":
    run("scalebench", verdicts)
