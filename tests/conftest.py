"""Settings that hold for every test and for the processes that tests start."""

from __future__ import annotations

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    # Token stores and compiled programs are kept between test runs, apart from the user's own cache.
    os.environ["SCALING_CACHE"] = str(config.rootpath / ".pytest_cache" / "scaling-laws")
    os.environ.setdefault("MPLBACKEND", "agg")
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
