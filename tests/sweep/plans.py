"""Small plans, and a folder in which the fake trainer works through them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Any

from scaling.canonical import canonical_json
from scaling.counts.shape import Shape
from scaling.recipe.optimizers import AdamW, RoleRates
from scaling.recipe.schedules import WSD
from scaling.run import Data, Run, run_id, trunk_id
from scaling.sweep.driver import Sweep
from scaling.sweep.opening import open_sweep

FAKE = (sys.executable, str(Path(__file__).with_name("fake_trainer.py")))


def make_run(width: int, steps: int, rate: float = 0.01, embedding: float | None = None) -> Run:
    shape = Shape(
        depth=1, width=width, heads=1, kv_heads=1, head_dim=8, mlp_width=16, vocab_size=256, context=8
    )
    rates = RoleRates(embedding=embedding) if embedding else None
    optimizer = AdamW(kind="adamw", learning_rate=rate, learning_rates=rates)
    schedule = WSD(kind="wsd", warmup=5, decay=steps // 5)
    data = Data(corpus="c", tokenizer="bytes", fingerprint="f" * 12)
    return Run(
        shape=shape,
        data=data,
        optimizer=optimizer,
        schedule=schedule,
        batch_sequences=4,
        steps=steps,
        seed=0,
    )


def make_plan(
    cells: Iterable[tuple[int, int]],
    holdout: Iterable[tuple[int, int]] = (),
    rate: float = 0.01,
    data: Mapping[str, Any] | None = None,
    embedding: Mapping[int, float] = MappingProxyType({}),
    **execution: Any,
) -> dict[str, Any]:
    """A plan of (width, steps) cells; equal widths share a job. Labels are ``w8-s100``."""
    runs, jobs = [], dict[str, list[Run]]()
    for role, some in (("fit", cells), ("holdout", holdout)):
        for width, steps in some:
            run = make_run(width, steps, rate, embedding.get(width))
            jobs.setdefault(trunk_id(run), []).append(run)
            runs.append(
                {
                    "run_id": run_id(run),
                    "label": f"w{width}-s{steps}",
                    "role": role,
                    "job_id": trunk_id(run),
                    "trunk_id": trunk_id(run),
                    "run": json.loads(canonical_json(run)),
                    "unique_tokens": run.tokens,
                    "epochs": 0.5,
                }
            )
    return {
        "schema": 1,
        "study": "tiny",
        "spec_sha": "0" * 64,
        "data": {
            "corpus": "c",
            "tokenizer": "bytes",
            "context": 8,
            "eval_documents": 24,
            "eval_tokens": 1000,
            "fingerprint": "f" * 12,
            "eval_id": "e" * 12,
            **(data or {}),
        },
        "runs": runs,
        "jobs": [
            {
                "job_id": job_id,
                "run_ids": [run_id(run) for run in members],
                "flops_spent": {run_id(run): run.flops().flops for run in members},
            }
            for job_id, members in jobs.items()
        ],
        "excluded": [],
        "execution": {"workers": 2, "share_trunk": True, "device": "cpu", **execution},
    }


def behave(folder: Path, **actions: str) -> None:
    """Tell the fake trainer what to do with a run, by its label with ``_`` for ``-``."""
    folder.mkdir(parents=True, exist_ok=True)
    named = {label.replace("_", "-"): action for label, action in actions.items()}
    (folder / "behaviour.json").write_text(json.dumps(named))


def open_tiny(
    folder: Path,
    plan: dict[str, Any],
    *extra: str,
    spec: str | None = "# planned in Python\n",
    **options: Any,
) -> AbstractContextManager[Sweep]:
    return open_sweep(folder, plan, spec, command=(*FAKE, *extra), **options)


DRIVER = """
import json, sys
from pathlib import Path
from scaling.sweep.opening import open_sweep
folder, command = Path(sys.argv[1]), json.loads(sys.argv[2])
with open_sweep(folder, json.loads((folder / "given.json").read_text()), "", command=command) as sweep:
    sys.exit(sweep.run_jobs({"fit"}).exit_code)
"""


def start_driver(folder: Path, plan: dict[str, Any], *extra: str) -> subprocess.Popen[bytes]:
    """A driver in a process of its own; it exits with its outcome's code."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "given.json").write_text(json.dumps(plan))
    return subprocess.Popen([sys.executable, "-c", DRIVER, str(folder), json.dumps([*FAKE, *extra])])


def wait_until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def trained(folder: Path) -> list[str]:
    """Labels in the order in which training began, once per attempt."""
    path = folder / "trained.txt"
    return path.read_text().split() if path.exists() else []


def by_label(plan: dict[str, Any], label: str) -> dict[str, Any]:
    return next(run for run in plan["runs"] if run["label"] == label)
