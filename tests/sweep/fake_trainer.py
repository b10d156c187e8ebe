"""Stands in for ``python -m scaling.train``: keeps the contract, trains nothing, fails as it is told.

``behaviour.json`` in the study's folder maps a run's label to one of the words below; others just succeed.
"""

import json
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TextIO

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scaling.store.failure import BUSY, FULL, LOST, RELIEVED
from scaling.store.lease import Busy, Lease, LostLease, acquire


def write(path: Path, value: object) -> None:
    aside = path.with_suffix(".tmp")
    aside.write_text(json.dumps(value))
    os.replace(aside, path)


def record(run: dict, status: str) -> dict:
    shape, ok = run["run"]["shape"], status == "ok"
    tokens = run["run"]["steps"] * run["run"]["batch_sequences"] * shape["context"]
    result = {
        "status": status,
        "status_reason": None if ok else "loss not finite at step 7",
        "loss": 2.5 if ok else None,
        "loss_se_eval": None,
        "bits_per_byte": None,
        "eval_id": "e" * 12,
        "eval_tokens": 1000,
        "train_loss": None,
        "document_losses": None,
        "unique_tokens": tokens,
        "epochs": 0.5,
        "steps": run["run"]["steps"],
        "tokens": tokens,
        "params": {"total": 30, "embedding": 10, "head": 10, "body": 10},
    }
    execution = {"flops_spent": run["flops_spent"], "wall_seconds": 1.5, "device": "cpu", "git_commit": None}
    return {"schema": 1, "run_id": run["run_id"], "result": result, "execution": execution}


def train(study: Path, job: Path, run: dict, action: str, lease: Lease, log: TextIO) -> bool:
    folder = study / "runs" / run["run_id"]
    if (folder / "record.json").exists():
        return True
    folder.mkdir(parents=True, exist_ok=True)
    with open(study / "trained.txt", "a") as file:
        file.write(run["label"] + "\n")
    write(folder / "run.json", run["run"])
    rows = [{"step": s, "tokens": 64 * s, "flops": 10.0 * s, "train/loss": 3.0 - 0.1 * s} for s in (1, 2)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    total = {"job_flops_done": 50, "job_flops_total": 100, "loss": 2.8}
    write(job / "progress.json", {"run_id": run["run_id"], "step": 2, "steps": run["run"]["steps"], **total})
    print("training", run["label"], os.getpid(), file=log, flush=True)
    match action:
        case "crash":
            raise RuntimeError("the loss function is on fire")
        case "crash once" if not (folder / "crashed").exists():
            (folder / "crashed").touch()
            raise RuntimeError("a passing cloud")
        case "kill all":
            deadline = time.monotonic() + 1
            while len(at_work) < 3 and time.monotonic() < deadline:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "own error":
            old = json.loads((folder / "error.json").read_text()) if (folder / "error.json").exists() else {}
            error = {"kind": "data_error", "message": "no such text", "step": 2}
            write(folder / "error.json", error | {"attempt": old.get("attempt", 0) + 1})
            return False
        case "full":
            sys.exit(FULL)
        case "relieved" if not (job / "lowering.json").exists():
            write(job / "lowering.json", {})
            sys.exit(RELIEVED)
        case "exhausted":
            sys.exit(RELIEVED)
        case "leave":
            sys.exit(0)
        case "hang":
            time.sleep(60)
        case "wait for go":
            while not (study / "go").exists():
                time.sleep(0.01)
    lease.check()
    write(folder / "record.json", record(run, "diverged" if action == "diverge" else "ok"))
    (folder / "error.json").unlink(missing_ok=True)
    return True


def reevaluate(study: Path, told: dict) -> int:
    for run in told["runs"]:
        path = study / "runs" / run["run_id"] / "record.json"
        new = json.loads(path.read_text())
        new["result"] |= {"eval_id": told["data"]["eval_id"], "loss": 2.25}
        write(path, new)
    return 0


def work(job: Path, mark: str, log: TextIO) -> int:
    """Do one job; returns its exit status."""
    study = job.parent.parent
    try:
        lease = acquire(job, mark)
    except Busy:
        return BUSY
    told = json.loads((job / "job.json").read_text())
    lease.keep(told["execution"]["lease_seconds"])
    behaviour = study / "behaviour.json"
    actions = json.loads(behaviour.read_text()) if behaviour.exists() else {}
    at_work.add(job)
    try:
        if told["task"] == "reevaluate":
            return reevaluate(study, told)
        runs = told["runs"]
        done = [train(study, job, run, actions.get(run["label"], "ok"), lease, log) for run in runs]
    except LostLease:
        return LOST
    except SystemExit as leave:
        return int(leave.code or 0)
    except RuntimeError as error:
        traceback.print_exception(error, file=log)
        log.flush()
        return 1
    finally:
        at_work.discard(job)
        lease.release()
    return 0 if all(done) else 1


def stop(*_: object) -> None:
    for job in at_work:
        (job / "checkpoint").touch()
    os._exit(130)


def serve() -> None:
    """Do the jobs that are written to standard input, each in a thread; the end of it ends this process."""
    answers, left = os.dup(1), b""

    def serve_one(order: dict) -> None:
        job = Path(order["folder"])
        with open(job / "log.txt", "a") as log:
            status = work(job, order["mark"], log)
        os.write(answers, json.dumps({"folder": str(job), "status": status}).encode() + b"\n")

    while piece := os.read(0, 4096):
        *lines, left = (left + piece).split(b"\n")
        for line in lines:
            threading.Thread(target=serve_one, args=(json.loads(line),), daemon=True).start()
    while "deaf" in sys.argv:
        time.sleep(60)
    os._exit(1)


if __name__ == "__main__":
    at_work = set[Path]()
    signal.signal(signal.SIGTERM, signal.SIG_IGN if "deaf" in sys.argv else stop)
    if sys.argv[-1] == "--serve":
        serve()
    else:
        (place,) = [i for i, word in enumerate(sys.argv) if "/jobs/" in word]
        sys.exit(work(Path(sys.argv[place]), *(sys.argv[place + 1 :] or [""]), sys.stdout))
