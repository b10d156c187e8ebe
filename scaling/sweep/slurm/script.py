"""The script that a submission hands to sbatch. Its text is made by submitit, which checks what is asked."""

from __future__ import annotations

import math
import os
import shlex
import sys
from typing import Any

from scaling.errors import Complaint, UserError
from scaling.spec.allocation import bytes_of, seconds_of
from scaling.spec.execution import SlurmExecution
from scaling.store.folder import ResultsFolder
from scaling.sweep.slurm.submission import Submission, log_file

LEAST_NOTICE, MOST_NOTICE = 30, 300
REQUEUE_SECONDS = 10  # before the time limit, for what comes after checkpoints
AFTER_SAVING = 5 + REQUEUE_SECONDS  # for a supervisor to say why it killed a command
ANALYSIS_CPUS = 2
_GPU_OPTIONS = ("gres", "gpus", "gpus-per-task", "gpus-per-socket", "gres-flags", "mem-per-gpu")


def workers_of(execution: SlurmExecution) -> int:
    """Return how many jobs an allocation is asked to have room for."""
    return execution.workers if execution.workers != "auto" else 1


def notice_seconds(submission: Submission) -> int:
    """Return how long before the time limit pilots are told: a tenth of it, within bounds; for a trainer of
    one's own at least as long as that may take to save, but at most half of it."""
    time = submission.execution.time
    limit = seconds_of(time) if time else 10.0 * MOST_NOTICE
    usual = min(MOST_NOTICE, max(LEAST_NOTICE, limit / 10))
    saving = submission.grace_seconds + AFTER_SAVING if submission.grace_seconds else 0.0
    return round(max(usual, saving if time is None else min(saving, limit / 2)))


def gpus_per_node(execution: SlurmExecution) -> int | None:
    """Return the GPUs of a node for its jobs; None where they are given by another option, or there are
    none."""
    asked = execution.device == "gpu" or (execution.device == "auto" and execution.job_devices is not None)
    if not asked or any(name in _GPU_OPTIONS for name in execution.extra):
        return None
    return (execution.host_devices or 1) * workers_of(execution)


def cpus_per_node(execution: SlurmExecution) -> int | None:
    """Return the cores of a node for its jobs; None, the cluster's choice, beside accelerators."""
    if execution.cpus is not None or execution.device not in ("auto", "cpu"):
        return execution.cpus
    if execution.device == "auto" and execution.job_devices is not None:
        return None
    return workers_of(execution) * execution.threads * (execution.host_devices or 1)


def script_text(submission: Submission, results: ResultsFolder) -> str:
    """Return the whole script of a submission to this folder.

    Raises:
        UserError: submitit is not installed, or Slurm cannot write to this folder.
    """
    _require_name(results)
    pilots = submission.kind == "pilots"
    python, folder = [sys.executable, "-m"], str(results.path.absolute())
    execution = submission.execution
    workers = [] if execution.workers == "auto" else ["--workers", str(execution.workers)]
    command = (
        [*python, "scaling.sweep.pilot", folder, submission.id]
        if pilots
        else [*python, "scaling", "run", folder, "--detach", *workers]
    )
    options = _of_pilots(submission) if pilots else _of_analysis(submission)
    logs = str(log_file(results, submission.id, 0).parent.absolute()).replace("%", "%%")
    log = f"{logs}/{'%a' if pilots else 0}.log"
    more = {"output": log, "requeue": True, **options.pop("additional_parameters")}
    return _submitit(
        command=f"exec {shlex.join(command)}",
        folder=results.path,
        job_name=submission.name,
        partition=execution.partition,
        account=execution.account,
        qos=execution.qos,
        time=math.ceil(seconds_of(execution.time) / 60) if execution.time else None,
        mem=f"{max(1, bytes_of(execution.memory) // 2**20)}M" if execution.memory else None,
        constraint=execution.constraint,
        ntasks_per_node=1,
        setup=list(execution.setup) or None,
        wckey=None,
        stderr_to_stdout=True,
        use_srun=False,
        additional_parameters=more,
        **options,
    )


def _require_name(results: ResultsFolder) -> None:
    """Refuse names of folders that Slurm reads otherwise in a script."""
    path = str(results.path.absolute())
    if "\\" in path or not path.isprintable():
        problem = f"results folder {path!r}: Slurm takes no backslash and no line break in the path of a log"
        raise UserError(Complaint(problem, hint="name another folder: --results FOLDER"))


def _of_pilots(submission: Submission) -> dict[str, Any]:
    execution = submission.execution
    extra = {name: value for name, value in execution.extra.items() if value is not False}
    return {
        "nodes": execution.nodes,
        "cpus_per_task": cpus_per_node(execution),
        "gpus_per_node": gpus_per_node(execution),
        "map_count": submission.tasks,
        "array_parallelism": execution.concurrent or submission.tasks,
        "additional_parameters": {"signal": f"B:USR2@{notice_seconds(submission)}", **extra},
    }


def _of_analysis(submission: Submission) -> dict[str, Any]:
    """A small job of the same partition and account, once the others have ended, however that was."""
    execution = submission.execution
    extra = {
        name: value
        for name, value in execution.extra.items()
        if value is not False and name not in (*_GPU_OPTIONS, "exclusive")
    }
    return {
        "nodes": 1,
        "cpus_per_task": min(execution.cpus or ANALYSIS_CPUS, ANALYSIS_CPUS),
        "dependency": "afterany:" + ":".join(submission.after),
        "additional_parameters": {"signal": f"B:TERM@{LEAST_NOTICE}", **extra},
    }


def _submitit(**options: Any) -> str:
    """Return the text of a script; the one place that uses what submitit does not publish."""
    os.environ.setdefault("SUBMITIT_LOG_LEVEL", "NOCONFIG")  # else its import closes all handlers of logging
    try:
        from submitit.slurm.slurm import _make_sbatch_string  # pyright: ignore[reportPrivateUsage]
    except ImportError:
        hint = "install it: pip install 'scaling-laws[slurm]'"
        raise UserError(Complaint("execution.kind = slurm needs submitit", hint=hint)) from None
    return _make_sbatch_string(**options)
