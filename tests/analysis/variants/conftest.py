"""Made-up studies of two variants, of known truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

WIDTHS = (16, 24, 32, 48, 64, 96, 120)
E, A, B, ALPHA, BETA = 0.9, 14.0, 60.0, 0.27, 0.30
SIZE, TOKENS = 5e4, 8e5  # where exponents of its own leave the second variant as good


def two(
    seed: int = 0, worth: float = 1.0, steeper: float = 0.0, noise: float = 0.002, shared: float = 0.004
) -> pd.DataFrame:
    """Variants ``base`` and ``new``, which needs ``worth`` times the compute and has exponents larger by the
    share ``steeper``. The same seed and order of data share noise."""
    rng, rows = np.random.default_rng(seed), []
    common = {width: rng.normal() * shared for width in WIDTHS}
    for variant in ("base", "new"):
        times, more = (worth, 1 + steeper) if variant == "new" else (1.0, 1.0)
        for width in WIDTHS:
            for flops in (1e11, 2e11, 4e11, 8e11):
                params = 24.0 * width**2 + 261.0 * width
                tokens = flops / (6 * params)
                law = E + A * times ** (ALPHA / 2) / params**ALPHA * (SIZE / params) ** (ALPHA * (more - 1))
                law += B * times ** (BETA / 2) / tokens**BETA * (TOKENS / tokens) ** (BETA * (more - 1))
                rows.append(
                    {
                        "run_id": f"{len(rows):012x}", "label": f"{variant}/w{width}-{flops:.0e}-s0",
                        "variant": variant, "role": "fit", "status": "ok", "trunk_id": f"{variant}{width}",
                        "params": params, "tokens": tokens, "flops": flops, "width": width,
                        "depth": 2, "seed": 0,
                        "loss": law * np.exp(common[width] + rng.normal() * noise),
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="session")
def studied() -> Callable[..., pd.DataFrame]:
    return two
