"""What the scripts beside this file share: where the data is, the table of verdicts, and a published optimum
next to ours."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.special import huber

from analysis import AnalysisError, Fit

FOLDER = "SCALING_PUBLISHED_DATA"
WIDTH = 46  # of a quantity in print
SLACK = 1e-6  # relative: an objective this near to the best known one is as good


@dataclass(frozen=True)
class Verdict:
    """One line. ``rule``: the criterion that decides ``passed``; ``whose``: the value ours stands beside."""

    quantity: str
    published: str
    ours: str
    rule: str
    passed: bool
    whose: str = "published"

    def line(self) -> str:
        values = f"{self.whose} {self.published:<18} ours {self.ours:<14}"
        return f"  {'pass' if self.passed else 'FAIL'}  {self.quantity:<{WIDTH}}  {values} {self.rule}"


# From the folder of a data set: verdicts, and notes as plain text.
Script = Callable[[Path], Iterator[Verdict | str]]


def objective(fit: Fit, params: Mapping[str, float]) -> float:
    """The sum of Huber of log residuals over the rows of ``fit``, at ``params``, computed here with scipy."""
    inputs = {x: np.array(fit.data[x]) for x in fit.law.inputs}
    residuals = np.log(fit.data["L"]) - np.log(fit.law.values(params, inputs))
    return float(huber(fit.objective.delta, residuals).sum())


def as_good(
    quantity: str, fit: Fit, published: Mapping[str, float], best_known: float, *, flops: float
) -> Iterator[Verdict | str]:
    """Our optimum of the chinchilla law against the lowest objective that anyone is known to have reached;
    then by how much it is below the published one, and what that changes (N* at ``flops``)."""
    theirs, ours = objective(fit, published), objective(fit, fit.solution)
    rule = f"best known {best_known:.9g}, to {SLACK:g}"
    yield Verdict(quantity, f"{theirs:.9g}", f"{ours:.9g}", rule, ours <= best_known * (1 + SLACK))
    moved = ", ".join(f"{name} {published[name]:.5g} -> {value:.5g}" for name, value in fit.solution.items())
    agree = f"{fit.starts.agree} of {fit.starts.n} starts agree"
    sizes = " -> ".join(f"{best_size(params, flops):.4g}" for params in (published, fit.solution))
    yield f"{1 - ours / theirs:.1e} below the published; {agree}"
    yield f"{moved}, a {exponent(published):.4f} -> {exponent(fit.solution):.4f}"
    yield f"N* at {flops:.3g} FLOPs: {sizes}"


def exponent(params: Mapping[str, float]) -> float:
    """a of N* ~ C^a under the chinchilla law and C = 6 N D (Hoffmann et al. 2022, eq. 4)."""
    return params["beta"] / (params["alpha"] + params["beta"])


def best_size(params: Mapping[str, float], flops: float) -> float:
    """N* at ``flops``, same source."""
    alpha, beta = params["alpha"], params["beta"]
    g = (alpha * params["A"] / (beta * params["B"])) ** (1 / (alpha + beta))
    return g * (flops / 6) ** exponent(params)


def from_logs(a: float, b: float, e: float, alpha: float, beta: float) -> dict[str, float]:
    """Parameters as published code has them, with logs of A, B, E."""
    return {"A": np.exp(a), "B": np.exp(b), "E": np.exp(e), "alpha": alpha, "beta": beta}


def run(name: str, script: Script) -> None:
    """Print what ``script`` says of its data; exit code 1 when a verdict fails, 0 where there is no data."""
    parser = argparse.ArgumentParser(description=f"Published values of {name} beside ours.")
    parser.add_argument("folder", nargs="?", help=f"of the data sets; left out: ${FOLDER}")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    folder = asked.folder or os.environ.get(FOLDER)
    if not folder or not (Path(folder) / name).is_dir():
        why = f"{folder} has no folder {name}" if folder else f"{FOLDER} is not set"
        if asked.folder:
            parser.error(why)
        print(f"{name}: skipped, {why}; docs/reference/published.md says where the data comes from")
        return
    lines = []
    try:
        for line in script(Path(folder) / name):  # told as it comes: some scripts take minutes
            if not asked.json:
                print(told(line) if lines else f"{name}\n{told(line)}", flush=True)
            lines.append(line)
    except (AnalysisError, OSError) as error:
        sys.exit(f"{name}: {error}")
    if asked.json:
        print(json.dumps({name: [x if isinstance(x, str) else asdict(x) for x in lines]}, indent=1))
    sys.exit(not all(x.passed for x in lines if isinstance(x, Verdict)))


def told(line: Verdict | str) -> str:
    return f"        {line}" if isinstance(line, str) else line.line()
