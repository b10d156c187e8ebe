"""Simulated tables with known truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from analysis import Fit, fit

WIDTHS = (16, 24, 32, 48, 64, 96, 120)
TRUTH = {"E": 0.9, "A": 14.0, "B": 60.0, "alpha": 0.27, "beta": 0.30}


def simulate(seed: int = 0, noise: float = 0.006, shared: float = 0.004) -> pd.DataFrame:
    """An isoFLOP study of small models: 4 budgets, repeated seeds of one cell, one run held out at 3x. Noise
    is log-normal, ``shared`` by the runs of one trunk."""
    rng = np.random.default_rng(seed)
    common = {w: rng.normal() * shared for w in (*WIDTHS, 80)}
    rows = []

    def add(width: int, flops: float, role: str, run_seed: int = 0) -> None:
        body = 24 * width**2 + 5 * width
        params = body + 256 * width
        tokens = flops / (6 * params + 780 * width)
        law = TRUTH["E"] + TRUTH["A"] / params ** TRUTH["alpha"] + TRUTH["B"] / tokens ** TRUTH["beta"]
        shift = common[width] if run_seed == 0 else rng.normal() * shared
        rows.append(
            {
                "run_id": f"{len(rows):012x}", "label": f"w{width}-{flops:.0e}", "role": role, "status": "ok",
                "trunk_id": f"w{width}s{run_seed}", "params": params, "params_body": body, "tokens": tokens,
                "flops": flops, "width": width, "seed": run_seed,
                "loss": law * np.exp(shift + rng.normal() * noise),
            }
        )  # fmt: skip

    for flops in (1e11, 2e11, 4e11, 8e11):
        for width in WIDTHS:
            add(width, flops, "fit")
    for run_seed in (1, 2, 3):
        add(24, 1e11, "noise", run_seed)
    add(80, 2.4e12, "holdout")
    return pd.DataFrame(rows)


@pytest.fixture
def simulated() -> Callable[..., pd.DataFrame]:
    return simulate


@pytest.fixture(scope="session")
def study() -> pd.DataFrame:
    return simulate()


@pytest.fixture(scope="session")
def found(study: pd.DataFrame) -> Fit:
    """The law of ``study``, without intervals; what is computed from it once is kept on it."""
    return fit("chinchilla", study, bootstrap=0)


@pytest.fixture(scope="session")
def truth() -> dict[str, float]:
    return TRUTH
