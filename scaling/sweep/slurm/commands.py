"""What is asked of Slurm."""

from __future__ import annotations

import os
from collections.abc import Iterable

from scaling.sweep.slurm.cluster import call

KEPT = {"SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT"}  # which say what Slurm is asked, and by whom


def sbatch(script: str) -> str:
    """Submit a script; return the number of the job. Asked from inside of a job, the new one inherits
    nothing of it.

    Raises:
        SlurmMissing: there is no sbatch here.
        SlurmError: Slurm refuses it, or cannot be reached: it may have it all the same.
    """
    environment = dict(os.environ)
    if "SLURM_JOB_ID" in environment:
        of_job = {name for name in environment if name.startswith(("SLURM_", "SLURMD_"))} - KEPT
        environment = {name: environment[name] for name in environment.keys() - of_job}
    answer = call("sbatch", "--parsable", script, environment=environment)
    return answer.strip().partition(";")[0]


def scancel(names: Iterable[str], *options: str) -> None:
    """Cancel the jobs of these names, in this order. By a name nothing is said of one that has ended.

    Raises:
        SlurmMissing: there is no scancel here.
        SlurmError: it fails.
    """
    for name in names:
        call("scancel", f"--name={name}", *options)


def requeue(slurm_id: str) -> None:
    """Have Slurm start a running job again, later.

    Raises:
        SlurmMissing: there is no scontrol here.
        SlurmError: Slurm refuses.
    """
    call("scontrol", "requeue", slurm_id)
