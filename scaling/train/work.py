"""One job, from its ``job.json`` to the records of its runs."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from scaling.data.index import index_of
from scaling.data.store import Windows, open_windows
from scaling.errors import Complaint, UserError
from scaling.files import clear_leftovers, write_json
from scaling.run import auto_chunk_steps
from scaling.store.failure import FULL, STOPPED, is_disk_full, write_failure
from scaling.store.lease import Lease, LostLease
from scaling.store.records import JobEnvironment, JobRun, JobSpec, PlanData, Record, read
from scaling.train.averages import decays_of
from scaling.train.environment import describe, require_precision, use_compilation_cache
from scaling.train.evaluate import make_evaluator
from scaling.train.job import Stopped, TrunkTrainer
from scaling.train.process import StopRequest
from scaling.train.program import Blueprint, make_program
from scaling.train.reevaluate import reevaluate
from scaling.train.workbench import Workbench


def work(folder: Path, job: JobSpec, lease: Lease, stop: StopRequest) -> int:
    """Train, or evaluate again, what the job asks for; returns the exit status.

    Args:
        folder: of the job.
        job: its job.json.
        lease: held by this process.
        stop: asked by a signal.

    Raises:
        LostLease: another process works on this job now.
    """
    use_compilation_cache()
    runs_folder = folder.parent.parent / "runs"
    members = list(job.runs)
    if job.task != "reevaluate":
        members = [member for member in members if not recorded(runs_folder / member.run_id, lease)]
    if not members:
        return 0
    lease.check()
    for place in (folder, *(runs_folder / member.run_id for member in members)):
        clear_leftovers(place)
    try:
        return _work(folder, job, members, lease, stop)
    except Stopped:
        print("stopped as asked; a relaunch resumes from the checkpoint", flush=True)
        return STOPPED
    except LostLease:
        raise
    except Exception as error:  # before any run: data, compiling, placing the program
        lease.check()
        write_failure(runs_folder / members[0].run_id, folder, error, None)
        return FULL if is_disk_full(error) else 1


def _work(folder: Path, job: JobSpec, members: list[JobRun], lease: Lease, stop: StopRequest) -> int:
    windows = load_data(job.data)
    run, environment = members[0].run, describe()
    require_precision(run.precision)
    chunk_steps = job.execution.chunk_steps or auto_chunk_steps(run.flops_per_step)
    program = make_program(
        Blueprint.of(run, chunk_steps, decays_of(members), lowering=job.execution.lowering)
    )
    lease.check()
    seen = JobEnvironment(**environment.model_dump(), compile_seconds=program.compile_seconds)
    write_json(folder / "env.json", seen.to_json())
    evaluator = cache(lambda: make_evaluator(program, windows))  # compiled only where it is needed
    bench = Workbench(
        folder=folder,
        lease=lease,
        program=program,
        windows=windows,
        evaluate=lambda params: evaluator()(params),
        stop_asked=lambda: stop.asked,
        execution=job.execution,
        environment=environment,
    )
    if job.task == "reevaluate":
        return reevaluate(bench, members)
    trainer = TrunkTrainer(bench, members, job.branch_steps)
    failed = trainer.run()
    return FULL if trainer.disk_full else int(failed > 0)


def recorded(folder: Path, lease: Lease) -> bool:
    """Tell whether the run in ``folder`` has a record. One that cannot be read is kept beside and made
    again."""
    path = folder / "record.json"
    try:
        record = read(Record, path)
        if record is None:
            return False
        if record.run_id == folder.name:
            return True
    except UserError:
        pass  # damaged
    lease.check()
    print(f"{path} is no record of this run; kept as record.json.damaged, trained again", flush=True)
    os.replace(path, path.with_name("record.json.damaged"))
    return False


def load_data(data: PlanData) -> Windows:
    """Return the data of a job: its stores are named by what is in them.

    Raises:
        UserError: a store is missing, damaged or cannot be read.
    """
    if data.content is None:
        raise UserError(Complaint("planned by an earlier version", "job.json", "run the study again"))
    try:
        return open_windows(index_of(data.content, data.context))
    except OSError as error:
        raise UserError(Complaint(f"the prepared data cannot be read: {error}", hint="run again")) from None
