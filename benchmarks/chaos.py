"""Break a study of twelve runs in every way we can think of: it must end as if nothing had happened.

    python benchmarks/chaos.py [kills drivers disk torn folders clock slurm] [--seed N] [--kills 60] [--short]

A study left in peace comes first. Every other one is killed, paused, starved of disk, damaged or misled, then
launched until it is complete, and compared with the first: results and curves bit for bit, forecasts, fit.
Linux; the parts that mount a small file system, set attributes, change users or set up Slurm need root, or
are skipped with the reason. Exit code 1 if any fault was not survived; what it left is kept then.
"""

from __future__ import annotations

import argparse
import platform
import random
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for benchmarks.faults and tests.slurm, which are not installed

from benchmarks.faults import clock, disk, drivers, folders, kills, slurm, torn  # noqa: E402
from benchmarks.faults.study import Trial, trained_twice  # noqa: E402

SECTIONS = {
    "kills": kills.section,
    "drivers": drivers.section,
    "disk": disk.section,
    "torn": torn.section,
    "folders": folders.section,
    "clock": clock.section,
    "slurm": slurm.section,
}
SHORT = ("kills", "drivers", "disk", "torn")


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)}")
    options.add_argument("--seed", type=int, default=random.randrange(10**6))
    options.add_argument("--kills", type=int, default=60, help="at least so many")
    options.add_argument("--short", action="store_true", help="a few of each")
    asked = options.parse_args()
    if unknown := set(asked.sections) - SECTIONS.keys():
        options.error(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    place = Path(tempfile.mkdtemp(prefix="chaos-"))
    packages = ", ".join(f"{name} {version(name)}" for name in ("jax", "jaxlib", "orbax-checkpoint", "numpy"))
    print(f"{datetime.now(UTC):%Y-%m-%d}, Python {platform.python_version()}, {packages}; seed {asked.seed}")
    began = time.monotonic()
    calm = Trial(place / "calm")
    if problems := calm.finish(1) or trained_twice(calm):
        print(*problems, sep="\n")
        return 1
    print(f"undisturbed: {time.monotonic() - began:.0f} s\n")
    print("| fault | tried | survived | |\n| --- | --- | --- | --- |", flush=True)
    failed = False
    for name in asked.sections or (SHORT if asked.short else SECTIONS):
        since, chance = time.monotonic(), random.Random(f"{asked.seed} {name}")
        count = {"kills": 4 if asked.short else asked.kills} if name == "kills" else {}
        rows = SECTIONS[name](calm.folder, place, chance, short=asked.short, **count)
        for row in rows:
            failed |= row.survived < row.tried
            print(f"| {row.fault} | {row.tried} | {row.survived} | {row.note} |", flush=True)
        for problem in dict.fromkeys(problem for row in rows for problem in row.problems):
            print(f"  PROBLEM: {problem}", flush=True)
        print(f"| ({name}: {time.monotonic() - since:.0f} s) | | | |", flush=True)
    if failed:
        print(f"\nNOT ALL SURVIVED; what is left of them is in {place}")
        return 1
    shutil.rmtree(place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
