"""CPU time of a sweep by the harness against each run in a process of its own with nothing shared.

    python benchmarks/sweep.py [SPEC] [--set FIELD=VALUE ...] [--every 1]

The default is 64 small runs, 4 learning rates x 4 seeds x 4 horizons; another is
``experiments/quickstart.yaml``.

Both sides train the same runs through the same training code. Their losses are compared: they differ by what
rounding grows to when two threads add in another order than one. The harness shares trunks between horizons,
processes and compiled programs between jobs, and pins one single-threaded process to each core. The other
side starts ``python -m scaling.train`` once per run, one after another, with the environment that a shell
gives it: no shared trunk, no compilation cache, threads and memory allocation as they come. Each
``--every``-th run is trained so, and times are scaled up. Held-out runs are left out: nothing about them can
be shared. The text is prepared before.

Prints CPU seconds (user + system, of all processes) and wall seconds of both sides and their ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scaling.plan.expand import plan_spec
from scaling.plan.plan import Plan, PlannedJob
from scaling.store.folder import ResultsFolder
from scaling.sweep.events import RunFinished
from scaling.sweep.opening import open_sweep
from scaling.sweep.tasks import Task, job_spec

SWEEP = Path(__file__).with_suffix(".yaml")
ROLES = ("fit", "noise", "tuning")


def used() -> tuple[float, float]:
    """(CPU seconds of finished child processes, wall clock)."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime, time.perf_counter()


def measured(work) -> tuple[float, float]:
    before = used()
    work()
    after = used()
    return after[0] - before[0], after[1] - before[1]


def by_harness(plan: Plan, folder: Path) -> None:
    with open_sweep(folder / "study", plan.to_json(), "") as sweep:
        outcome = sweep.run_jobs(
            ROLES, on_event=lambda e: print(f"  harness: {e.label}") if isinstance(e, RunFinished) else None
        )
    if outcome.exit_code:
        raise SystemExit("the harness did not finish its runs")


def one_by_one(plan: Plan, folder: Path, every: int) -> None:
    runs = [run for run in plan.runs if run.role in ROLES]
    for number, planned in enumerate(runs[::every]):
        job = folder / "alone" / "jobs" / planned.run_id
        job.mkdir(parents=True)
        alone = PlannedJob(
            job_id=planned.run_id,
            run_ids=(planned.run_id,),
            flops_spent={planned.run_id: planned.flops},
        )
        task = Task(alone, (planned,), planned.flops)
        request = job_spec(plan, task, [planned], "train", ResultsFolder(folder))
        (job / "job.json").write_text(json.dumps(request.to_json()))
        environment = dict(os.environ, JAX_ENABLE_COMPILATION_CACHE="false")
        with (job / "log.txt").open("w") as log:
            subprocess.run(
                [sys.executable, "-m", "scaling.train", str(job)], check=True, env=environment, stdout=log,
                stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        print(f"  alone: {planned.label} ({number + 1})", flush=True)


def losses(folder: Path) -> dict[str, float]:
    records = [json.loads(path.read_text()) for path in folder.glob("runs/*/record.json")]
    return {record["run_id"]: record["result"]["loss"] for record in records}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("spec", nargs="?", type=Path, default=SWEEP)
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["SCALING_CACHE"] = str(folder / "cache")  # a cold start: nothing is compiled
        _, plan = plan_spec(options.spec, options.overrides)
        shared, shared_wall = measured(lambda: by_harness(plan, folder))
        measured_alone = measured(lambda: one_by_one(plan, folder, options.every))
        ours, theirs = losses(folder / "study"), losses(folder / "alone")
    differ = max(abs(ours[name] - theirs[name]) / theirs[name] for name in theirs)
    scale = len(ours) / len(theirs)
    alone, alone_wall = (scale * seconds for seconds in measured_alone)
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{len(ours)} runs of {options.spec.name}, {len(theirs)} of them one by one")
    print(f"largest relative difference of a loss {differ:.1e}")
    print(f"harness      {shared:8.1f} CPU s  {shared_wall:8.1f} s wall")
    print(f"one by one   {alone:8.1f} CPU s  {alone_wall:8.1f} s wall")
    print(f"ratio        {alone / shared:8.2f}        {alone_wall / shared_wall:8.2f}")


if __name__ == "__main__":
    main()
