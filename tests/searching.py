"""How optima are searched for in tests that are not about the search."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

from analysis.fits import fitting
from analysis.solve import multistart, starts
from analysis.solve.problem import Problem

EVERY = 5  # start of those that are tried
KEPT = 3  # of them that are polished


@contextmanager
def searching_briefly() -> Iterator[None]:
    """Try few starts: what these tests fit has one optimum, which all starts reach."""

    def few(*given: Any) -> np.ndarray:
        return starts.starts(*given)[::EVERY]

    def solve(problem: Problem, **given: Any) -> multistart.Solution:
        return multistart.solve(problem, **{"keep": KEPT, **given})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(multistart, "starts", few)
        patch.setattr(fitting, "solve", solve)
        yield
