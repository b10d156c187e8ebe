"""A saved fit or estimate is told from a table by its content."""

import json

import numpy as np
import pandas as pd

from analysis.fits.fitting import fit
from analysis.fits.result import Fit
from analysis.optimal_size.estimate import Estimate
from analysis.optimal_size.estimators import estimate
from analysis.optimal_size.saved import read_saved, result


def test_results_are_told_from_tables(tmp_path):
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e6, 1e8, 5), np.geomspace(1e8, 1e10, 5)))
    noise = np.exp(0.001 * np.random.default_rng(0).standard_normal(25))
    table = pd.DataFrame({"params": n, "tokens": d, "loss": (1.7 + 400 / n**0.34 + 410 / d**0.28) * noise})
    for made, kind in (
        (fit("chinchilla", table, bootstrap=0), Fit),
        (estimate("hull", table, bootstrap=0), Estimate),
    ):
        path = tmp_path / "any.name"
        path.write_text(made.to_json())
        data = read_saved(path)
        assert data is not None
        read = result(data)
        assert isinstance(read, kind) and read.to_json() == made.to_json()
    lines = tmp_path / "runs.jsonl"
    lines.write_text('{"params": 1}\n{"params": 2}\n')
    (tmp_path / "records.json").write_text(json.dumps({"params": [1, 2]}))
    table.to_csv(tmp_path / "runs.csv")
    for name in ("runs.jsonl", "records.json", "runs.csv", "none.json", "."):
        assert read_saved(tmp_path / name) is None
