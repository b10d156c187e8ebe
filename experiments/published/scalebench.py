"""ScaleBench (Li et al. 2026, arXiv:2604.22753): 65 laws of 8 tasks, every one fitted to all training runs.

Data: github.com/PlanarG/active-sl at e0a58ffde4f6fdfb20880d47d6d180fdbcb1440d (code MIT, data CC BY 4.0),
benchmark/dataset/<task>_scaling_law/{train,test}-00000-of-00001.parquet as scalebench/<task>/{train,test}.csv,
and the formulas, parameter order and bounds of its laws, transcribed as scalebench/laws.json: per task inputs,
output and laws {params, bounds, formula[, where]} (of the mixture of domains: per output).

Objective: least squares on the loss within the bounds, a fit per group, as there. Peers, on the same objective
from the same random starts (log-uniform where the lower bound is positive, as there): scipy's least_squares
(trf, x_scale="jac") and L-BFGS-B. Where the outputs of a law share no parameter, they and we fit each by itself.

    python experiments/published/scalebench.py [FOLDER] [--json]
    SCALEBENCH=full python ... : all 65 instances, 64 starts for the peers
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from formulas import law
from scipy.optimize import least_squares, minimize
from verdicts import SLACK, Verdict, run

import analysis
