from __future__ import annotations

import pytest

from scaling.sweep.slurm import cancel, fleet, submit
from tests.sweep.slurm.stand_in import Slurm


@pytest.fixture
def slurm(monkeypatch: pytest.MonkeyPatch) -> Slurm:
    stand_in = Slurm()
    monkeypatch.delenv("SLURM_JOB_NAME", raising=False)
    monkeypatch.setattr(submit, "sbatch", stand_in.sbatch)
    monkeypatch.setattr(submit, "accounted_rows", lambda names: None)
    for module in (submit, cancel):
        monkeypatch.setattr(module, "queue_rows", stand_in.queue_rows)
    for module in (submit, cancel, fleet):
        monkeypatch.setattr(module, "scancel", stand_in.scancel)
    for name in ("POLL_SECONDS", "REPORT_SECONDS", "LEAST_PATIENCE", "MOST_PATIENCE"):
        monkeypatch.setattr(fleet, name, getattr(fleet, name) / 10)
    return stand_in
