"""Extrapolation of 92 learning curves (Alabdulmohsin et al. 2022, arXiv:2209.06640), on their fixed split.

Data: github.com/IBM/ColPret (MIT; the benchmark itself is google-research/revisiting_neural_scaling_laws),
aggregated_eval/revisiting_lang.csv and revisiting_vision.csv, one after the other as
revisiting_benchmark/runs.csv: domain, task, model, seen_examples, loss (or error), and training: 1 for the
points to fit, 0 for those to predict.

Laws of x = seen examples, each fitted to a curve's training points by least squares of logs: M1, a power law;
M2, with an offset; BNSL-1, a power law with one break (Caballero et al. 2023, arXiv:2210.14891). Scored by
the root mean square log error on the other points. No table of a paper is repeated here.

    python experiments/published/revisiting_benchmark.py [FOLDER] [--json]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from verdicts import Verdict, run

import analysis
from analysis import Law

M1 = Law("M1", {"A": {"x": "alpha"}})
M2 = Law("M2", {"E": {}, "A": {"x": "alpha"}})
LEVEL = 0.9
FEW = 15  # training points below which five parameters are not asked for


def broken(x: Any, E: Any, A: Any, alpha: Any, c1: Any, d1: Any, f1: Any) -> Any:
    import jax.numpy as jnp

    return E + A * (x / 1e8) ** -alpha * jnp.exp(-c1 * f1 * jnp.logaddexp(0.0, jnp.log(x / d1) / f1))
