"""CPU seconds of ``plan``, ``status`` and ``collect`` on a study of 10,000 runs, against our limits; ``plan``
also where axes and variants make as many of 100 cells.

    python benchmarks/large_study.py [--seeds 100] [--keep FOLDER]

The plan is the planner's own; records, curves and leases are made up, in the format of
``scaling/store/records.py``. One run in a hundred has failed and one is half-done, for ``status`` to explain.
CPU seconds are user + system of one process, files in the page cache. Exit code 1 when a limit is passed.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from scaling.canonical import canonical_json
from scaling.data.index import DataIndex
from scaling.plan.data import resolve_data
from scaling.plan.expand import plan_study
from scaling.plan.plan import Plan, PlannedRun
from scaling.spec.load import load_study

LIMITS = {"plan": 10.0, "plan, axes": 5.0, "status": 3.0, "collect": 10.0}
SPEC = """\
study: large
data: {corpus: state-of-the-union, tokenizer: bytes, context: 64}
family: {kind: width-dial, depth: 2, widths: [16, 24, 32, 40, 48, 56, 64, 72, 80, 88], head_dim: 8}
recipe:
  optimizer: {kind: adamw, learning_rate: {kind: power, of: width, coefficient: 0.2, exponent: -1}}
  schedule: {kind: wsd}
  batch_tokens: 256
design: {kind: grid, steps: [1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000, 9000, 10000]}
"""
AXES = """\
variants:
  swiglu: {}
  gelu: {family.mlp: gelu}
axes:
  - cross:
      recipe.optimizer.learning_rate.coefficient: [0.05, 0.1, 0.2, 0.4, 0.8]
      recipe.batch_tokens: [128, 256, 512, 1024, 2048]
  - zip: {recipe.optimizer.b2: [0.98, 0.95], recipe.optimizer.weight_decay: [0.1, 0.2]}
"""
CHUNK_STEPS = 256
EXECUTION = {
    "wall_seconds": 12.3456,
    "tokens_per_second": 209434.2906875544,
    "cpu_seconds": 12.345,
    "started": "2026-01-01T00:00:00Z",
    "finished": "2026-01-01T00:00:12Z",
    "resumed": 0,
    "lease_token": 1,
    "device": "cpu",
    "platform": "cpu",
    "devices": 1,
    "versions": {name: "1.2.3" for name in ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")},
    "git_commit": "0" * 40,
}
OWNER = {"host": "machine", "machine": "0" * 16, "pid": 1, "started": "1"}


def make_result(planned: PlannedRun, index: DataIndex) -> dict[str, Any]:
    run = planned.run
    loss = 0.9 + 20 / planned.params**0.3 + 50 / run.tokens**0.3 + 0.001 * math.sin(run.seed)
    total, body = planned.params, planned.params_body
    return {
        "status": "ok",
        "status_reason": None,
        "loss": loss,
        "loss_se_eval": 0.02,
        "bits_per_byte": loss / math.log(2),
        "eval_tokens": index.eval_tokens_used,
        "eval_id": index.eval_id,
        "train_loss": loss,
        "steps": run.steps,
        "tokens": run.tokens,
        "unique_tokens": planned.unique_tokens,
        "epochs": planned.epochs,
        "params": {
            "total": total,
            "embedding": (total - body) // 2,
            "head": (total - body) // 2,
            "body": body,
        },
        "document_losses": {document.name: loss for document in index.eval_documents},
    }


def curve(planned: PlannedRun, loss: float) -> str:
    """One row a chunk, and the evaluation."""
    run, rows = planned.run, list[dict[str, Any]]()
    for step in [*range(CHUNK_STEPS, run.steps, CHUNK_STEPS), run.steps]:
        at = {"step": step, "tokens": step * run.batch_tokens, "flops": planned.flops // run.steps * step}
        rate = run.optimizer.learning_rate
        row = {"train/loss": loss + 1 / step, "train/grad_norm": 0.84, "train/learning_rate": rate}
        rows.append({**at, "wall_time": 0.0012 * step, **row})
    rows.append({"step": run.steps, "tokens": run.tokens, "flops": planned.flops, "eval/loss": loss})
    return "".join(json.dumps(row) + "\n" for row in rows)


def make_folder(folder: Path, plan: Plan, index: DataIndex) -> int:
    """Write the study as if it had been trained; returns the number of rows of all curves."""
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps(plan.to_json(), indent=1))
    rows = 0
    for i, planned in enumerate(plan.runs):
        at, result = folder / "runs" / planned.run_id, make_result(planned, index)
        at.mkdir(parents=True)
        (at / "run.json").write_text(canonical_json(planned.run))
        text = curve(planned, result["loss"])
        rows += text.count("\n")
        (at / "metrics.jsonl").write_text(text)
        if i % 100 == 0:
            failure = {"schema": 1, "kind": "exception", "message": "ValueError: made up", "step": 256}
            text = json.dumps({**failure, "run_id": planned.run_id, "attempt": 2, "log_tail": ["..."] * 20})
            (at / "error.json").write_text(text)
        elif i % 100 != 50:
            execution = {**EXECUTION, "flops_spent": planned.flops}
            record = {"schema": 1, "run_id": planned.run_id, "result": result, "execution": execution}
            (at / "record.json").write_text(json.dumps(record, indent=1))
    for job in plan.jobs:
        at = folder / "jobs" / job.job_id
        at.mkdir(parents=True)
        (at / "log.txt").write_text("made up\n")
        lease = {"schema": 1, "token": 1, "id": "0" * 32, "owner": OWNER, "beat": 9, "released": True}
        (at / "lease").write_text(json.dumps(lease).ljust(511) + "\n")
    return rows


def cpu_seconds(*arguments: str) -> float:
    """Of one process of the command. Raises CalledProcessError when it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "scaling.cli", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--seeds", type=int, default=100, help="of each of 10 sizes x 10 horizons")
    options.add_argument("--keep", type=Path, help="leave the study in this new folder")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        spec, results = Path(temporary) / "large.yaml", asked.keep or Path(temporary) / "large"
        spec.write_text(f"{SPEC}seeds: {list(range(asked.seeds))}\n")
        varied = spec.with_name("varied.yaml")
        varied.write_text(SPEC + AXES)
        study = load_study(spec)
        plan = plan_study(study)
        rows = make_folder(results, plan, resolve_data(study))
        print(f"{len(plan.runs)} runs, {len(plan.jobs)} jobs, {rows} rows of curves", flush=True)
        late = False
        for name, limit in LIMITS.items():
            match name:
                case "plan":
                    seconds = cpu_seconds("plan", str(spec), "--no-probe")
                case "plan, axes":
                    seconds = cpu_seconds("plan", str(varied), "--no-probe")
                case _:
                    seconds = cpu_seconds(name, str(results))
            late |= seconds > limit
            verdict = "TOO SLOW" if seconds > limit else "ok"
            print(f"scaling {name:10} {seconds:6.2f} CPU s, limit {limit:4.1f}: {verdict}", flush=True)
    return int(late)


if __name__ == "__main__":
    sys.exit(main())
