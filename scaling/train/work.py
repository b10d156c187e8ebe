"""One job, from its ``job.json`` to the records of its runs."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from scaling.data.index import DataIndex, resolve
from scaling.data.store import Store, open_store
from scaling.errors import Problem, UserError
from scaling.run import Run, run_id
from scaling.store.files import clear_leftovers, write_json
from scaling.store.lease import Lease, LostLease
from scaling.store.records import FULL, STOPPED, is_disk_full, is_record
from scaling.train.environment import describe, use_compilation_cache
from scaling.train.evaluate import Evaluation, make_evaluator
from scaling.train.failure import write_failure
from scaling.train.job import Job, Member, Stopped
from scaling.train.loop import Blueprint, Program, auto_chunk_steps, make_program
from scaling.train.process import StopRequest
from scaling.train.reevaluate import reevaluate


def work(folder: Path, job: dict[str, Any], lease: Lease, stop: StopRequest) -> int:
    """Train, or evaluate again, what the job asks for; returns the exit status.

    Raises:
        LostLease: another process works on this job now.
    """
    use_compilation_cache()
    runs_folder = folder.parent.parent / "runs"
    members = [_member(entry) for entry in job["runs"]]
    if job.get("task") != "reevaluate":
        members = [member for member in members if not recorded(runs_folder / member.run_id, lease)]
    if not members:
        return 0
    lease.check()
    for place in (folder, *(runs_folder / member.run_id for member in members)):
        clear_leftovers(place)
    try:
        return _work(folder, job, members, lease, stop)
    except Stopped:
        print("stopped as asked; a relaunch goes on from the checkpoint", flush=True)
        return STOPPED
    except LostLease:
        raise
    except Exception as error:  # before there was a run at work: data, compiling, placing the program
        lease.check()
        write_failure(runs_folder / members[0].run_id, folder, error, None)
        return FULL if is_disk_full(error) else 1


def _work(folder: Path, job: dict[str, Any], members: list[Member], lease: Lease, stop: StopRequest) -> int:
    index, store = load_data(job["data"])
    program, environment = _prepare(folder, members[0].run, job["execution"], lease)
    evaluator = cache(lambda: make_evaluator(program, store))

    def evaluate(params: Any) -> Evaluation:
        return evaluator()(params)

    if job.get("task") == "reevaluate":
        return reevaluate(folder, members, program, index, evaluate, lease, lambda: stop.asked)
    trunk = Job(
        folder=folder,
        members=members,
        program=program,
        store=store,
        index=index,
        evaluate=evaluate,
        stop_asked=lambda: stop.asked,
        execution=job["execution"],
        environment=environment,
        lease=lease,
        branch_steps=job["branch_steps"],
    )
    failed = trunk.run()
    return FULL if trunk.disk_full else int(failed > 0)


def _prepare(
    folder: Path, run: Run, execution: dict[str, Any], lease: Lease
) -> tuple[Program, dict[str, Any]]:
    chunk_steps = execution.get("chunk_steps") or auto_chunk_steps(run)
    program, environment = make_program(Blueprint.of(run, chunk_steps)), describe()
    lease.check()
    write_json(folder / "env.json", environment | {"compile_seconds": program.compile_seconds})
    return program, environment


def _member(entry: dict[str, Any]) -> Member:
    """A run of the job; its id, which names a folder, must be that of its content."""
    run = Run.model_validate(entry["run"])
    if run_id(run) != entry["run_id"]:
        raise ValueError(f"job.json names a run {entry['run_id']!r} whose content is {run_id(run)}")
    return Member(entry["run_id"], run, entry["flops_spent"])


def recorded(folder: Path, lease: Lease) -> bool:
    """Whether the run in ``folder`` has a record. One that cannot be read is kept beside and made again."""
    path = folder / "record.json"
    try:
        value = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return False
    except ValueError:
        value = None
    if is_record(value, folder.name):
        return True
    lease.check()
    print(f"{path} is no record of this run; kept as record.json.damaged, trained again", flush=True)
    os.replace(path, path.with_name("record.json.damaged"))
    return False


def load_data(data: dict[str, Any]) -> tuple[DataIndex, Store]:
    """The data of a job, checked to be the data it was planned with.

    Raises:
        UserError: it is not, or it cannot be had.
    """
    names = ("corpus", "tokenizer", "context", "eval_documents", "eval_tokens")
    index = resolve(**{name: data[name] for name in names})
    if index.fingerprint != data["fingerprint"]:
        message = f"data fingerprint is {index.fingerprint}, planned with {data['fingerprint']}"
        raise UserError(Problem(message, hint="plan again with the data there is now"))
    try:
        return index, open_store(index)
    except (OSError, RuntimeError) as error:
        raise UserError(Problem(f"the token store cannot be read: {error}", hint="run again")) from None
