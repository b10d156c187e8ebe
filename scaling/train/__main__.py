"""``python -m scaling.train JOB_FOLDER``: train the runs of one job that have no record yet.

Exit codes: 0 every run has a record, 1 some failed, 130 asked to stop (a relaunch goes on).
"""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

from scaling.data.index import DataIndex, resolve
from scaling.data.store import open_store
from scaling.files import write_json
from scaling.plan.run import Run
from scaling.train.environment import StopRequest, describe, die_with_driver, use_compilation_cache
from scaling.train.evaluate import make_evaluator
from scaling.train.job import Job, Member, Stopped
from scaling.train.loop import auto_chunk_steps, make_program


def main(folder: Path) -> int:
    die_with_driver()
    stop = StopRequest()
    use_compilation_cache()
    job = json.loads((folder / "job.json").read_text())
    index = load_index(job["data"])
    members = [
        Member(entry["run_id"], Run.model_validate(entry["run"]), entry["flops_spent"])
        for entry in job["runs"]
        if not (folder.parent.parent / "runs" / entry["run_id"] / "record.json").exists()
    ]
    if not members:
        return 0
    store, first = open_store(index), members[0].run
    execution: dict[str, Any] = job["execution"]
    chunk_steps = execution.get("chunk_steps") or auto_chunk_steps(first)
    program = make_program(first.shape, first.batch_sequences, chunk_steps)
    environment = describe()
    write_json(folder / "env.json", environment | {"compile_seconds": program.compile_seconds})
    evaluator = cache(lambda: make_evaluator(program, store))
    trunk = Job(
        folder=folder,
        members=members,
        program=program,
        store=store,
        index=index,
        evaluate=lambda params: evaluator()(params),
        stop_asked=lambda: stop.asked,
        execution=execution,
        environment=environment,
    )
    try:
        return 1 if trunk.run() else 0
    except Stopped:
        print("stopped as asked; a relaunch goes on from the checkpoint", flush=True)
        return 130


def load_index(data: dict[str, Any]) -> DataIndex:
    """The data of a job, checked to be the data it was planned with."""
    names = ("corpus", "tokenizer", "context", "eval_documents", "eval_tokens")
    index = resolve(**{name: data[name] for name in names})
    if index.fingerprint != data["fingerprint"]:
        raise ValueError(f"data fingerprint is {index.fingerprint}, planned with {data['fingerprint']}")
    return index


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
