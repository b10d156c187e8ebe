"""Made-up training curves under known schedules, computed without jax."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis import schedules

TRUTH = {
    "annealing": {"L0": 2.6, "A": 0.6, "C": 0.4, "alpha": 0.45, "memory": 60.0},
    "multi-power": {"L0": 2.6, "A": 0.6, "B": 12.0, "alpha": 0.45, "C": 1.5, "beta": 0.6, "gamma": 0.6},
}
T, PEAK = 300, 1e-2
AT = np.arange(36, T + 1, 12)
ONE = schedules.standard(T, peak=PEAK, end=PEAK / 10, warmup=30)
RUN = {name: ONE[name] for name in ("cosine", "constant", "wsd")}
NEVER = np.where(np.arange(T) < 150, ONE["constant"], 0.3 * PEAK)


def losses(name: str, rates: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """As the papers define them, term by term."""
    p, out = TRUTH[name], []
    for t in steps:
        eta, before = (
            rates[:t],
            np.concatenate([[0.0 if name == "multi-power" else rates[0]], rates[: t - 1]]),
        )
        if name == "annealing":
            momentum = area = 0.0
            for fall in before - eta:
                momentum = (1 - 1 / p["memory"]) * momentum + fall
                area += momentum
            gain = p["C"] * area
        else:
            left = np.array([eta[k:].sum() for k in range(t)])
            gain = (
                p["B"] * ((before - eta) * (1 - (1 + p["C"] * eta ** -p["gamma"] * left) ** -p["beta"])).sum()
            )
        out.append(p["L0"] + p["A"] * eta.sum() ** -p["alpha"] - gain)
    return np.array(out)


def table(name: str) -> pd.DataFrame:
    frames = [pd.DataFrame({"curve": c, "step": AT, "loss": losses(name, r, AT)}) for c, r in RUN.items()]
    return pd.concat(frames, ignore_index=True)
