"""Stands in for ``python -m scaling.train``: keeps the contract, trains nothing, fails as it is told.

``behaviour.json`` in the study's folder maps a run's label to one of the words below; others just succeed.
"""

import json
import os
import signal
import stat
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scaling.store.failure import BUSY, FULL, LOST
from scaling.store.lease import Busy, Lease, LostLease, acquire


def write(path: Path, value: object) -> None:
    aside = path.with_suffix(".tmp")
    aside.write_text(json.dumps(value))
    os.replace(aside, path)


def watch_driver() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


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


def train(study: Path, job: Path, run: dict, action: str, lease: Lease) -> bool:
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
    print("training", run["label"], os.getpid(), flush=True)
    match action:
        case "crash":
            raise RuntimeError("the loss function is on fire")
        case "crash once" if not (folder / "crashed").exists():
            (folder / "crashed").touch()
            raise RuntimeError("a passing cloud")
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "own error":
            old = json.loads((folder / "error.json").read_text()) if (folder / "error.json").exists() else {}
            error = {"kind": "data_error", "message": "no such text", "step": 2}
            write(folder / "error.json", error | {"attempt": old.get("attempt", 0) + 1})
            return False
        case "full":
            sys.exit(FULL)
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


def main() -> int:
    (place,) = [i for i, word in enumerate(sys.argv) if "/jobs/" in word]
    job, study = Path(sys.argv[place]), Path(sys.argv[place]).parent.parent
    if "deaf" in sys.argv:  # stuck: neither signals nor the end of standard input reach it
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: ((job / "checkpoint").touch(), os._exit(130)))
        if stat.S_ISFIFO(os.fstat(0).st_mode):
            threading.Thread(target=watch_driver, daemon=True).start()
    try:
        lease = acquire(job, *sys.argv[place + 1 :])
    except Busy:
        return BUSY
    told = json.loads((job / "job.json").read_text())
    lease.keep(told["execution"]["lease_seconds"])
    behaviour = study / "behaviour.json"
    actions = json.loads(behaviour.read_text()) if behaviour.exists() else {}
    try:
        if told["task"] == "reevaluate":
            return reevaluate(study, told)
        done = [train(study, job, run, actions.get(run["label"], "ok"), lease) for run in told["runs"]]
    except LostLease:
        return LOST
    finally:
        lease.release()
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main())
