"""Learning rates of a resolved run, on the host: to the compiled program a schedule is data."""

from __future__ import annotations

import numpy as np

from scaling.run import WSD, Constant, Cosine, Linear, Run


def learning_rates(run: Run, first_step: int, count: int) -> np.ndarray:
    """Rates of steps ``first_step .. first_step + count - 1`` (0-based), float32 of shape (count,).

    Warmup is linear to the peak at the last warmup step. Before ``run.branch_step`` the value of a step
    depends on the peak and the warmup alone, so that runs of one trunk see the same bits. A decay over n
    steps takes the values of its shape at 1/(n+1) .. n/(n+1): neither the peak again nor a wasted step at 0.
    """
    step = np.arange(first_step, first_step + count, dtype=np.float64)
    schedule = run.schedule
    warmup = schedule.warmup_steps
    factor = np.minimum(1.0, (step + 1) / warmup) if warmup else np.ones_like(step)
    match schedule:
        case WSD():
            done = (step - run.branch_step + 1) / (schedule.decay_steps + 1)
            factor = np.where(step < run.branch_step, factor, factor * _falling(schedule.shape, done))
        case Cosine() | Linear():
            shape = "cosine" if schedule.kind == "cosine" else "linear"
            done = (step - warmup + 1) / max(run.steps - warmup, 1)
            floor = schedule.final_fraction
            factor = np.where(step < warmup, factor, floor + (1 - floor) * _falling(shape, done))
        case Constant():
            pass
    return (run.optimizer.learning_rate * factor).astype(np.float32)


def _falling(shape: str, done: np.ndarray) -> np.ndarray:
    """From 1 at ``done`` = 0 to 0 at 1."""
    done = np.clip(done, 0.0, 1.0)
    match shape:
        case "linear":
            return 1 - done
        case "1-sqrt":  # Hägele et al., arXiv:2405.18392, equation 2
            return 1 - np.sqrt(done)
        case "cosine":
            return 0.5 * (1 + np.cos(np.pi * done))
        case _:
            raise ValueError(f"decay shape {shape!r}: must be linear, 1-sqrt or cosine")
