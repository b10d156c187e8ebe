"""Mutated specs through the loader and the plan: each gives a plan or a list of problems with their places.

    python benchmarks/fuzz_specs.py [--count 8000] [--seed 0] [--commands 40] [--keep fuzz-failures]

Every mutant (``tests/spec/mutants.py``) goes through what ``scaling plan`` does, in this process
(``tests/spec/fuzzing.py``); some also through the command itself. Allowed: a plan, or a ``UserError`` whose
problems name file and line. Not allowed: any other exception, more than 5 CPU seconds, more than ``BYTES`` of
memory on top of this process. Offending specs are kept; exit code 1 if there are any.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # for tests, which is not installed

from scaling.plan.expand import plan_spec  # noqa: E402
from tests.spec.fuzzing import BASES, CPU_SECONDS, fuzz  # noqa: E402
from tests.spec.mutants import Mutant  # noqa: E402

BYTES = 1_000_000_000


def command_outcome(mutant: Mutant, file: Path) -> str:
    """The same through ``scaling plan``, in a process of its own."""
    file.write_bytes(mutant.content)
    command = [sys.executable, "-m", "scaling.cli", "plan", str(file), "--no-probe"]
    command += [f"--set={text}" for text in mutant.overrides]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    if done.returncode not in (0, 2) or "Traceback" in done.stdout + done.stderr:
        return f"exit code {done.returncode}: {done.stderr[-300:]}"
    return "plan" if done.returncode == 0 else "refused"


def limit_memory() -> None:
    """Let this process grow by ``BYTES`` from now on: beyond, it gets a MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--count", type=int, default=8000, help="about two in three are different")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--commands", type=int, default=40, help="mutants that also go through the command")
    options.add_argument("--keep", type=Path, default=Path("fuzz-failures"), help="where failures are kept")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["SCALING_CACHE"] = str(folder / "cache")
        plan_spec(BASES[0])  # builds the token store
        limit_memory()
        tally, tried = fuzz(asked.count, asked.seed, folder)
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        commands = Counter[str]()
        for mutant in tried[:: max(1, len(tried) // max(1, asked.commands))][: asked.commands]:
            outcome = command_outcome(mutant, folder / "mutant.yaml")
            commands[outcome if outcome in ("plan", "refused") else "FAILED"] += 1
            if outcome not in ("plan", "refused"):
                tally.failures.append((mutant, f"command: {outcome}"))
    for (kind, outcome), number in sorted(tally.outcomes.items()):
        print(f"{kind:20} {outcome:8} {number:6}")
    different = len({(mutant.content, mutant.overrides) for mutant in tried})
    print(f"{len(tried)} mutants ({different} different), seed {asked.seed}")
    print(f"{len(tally.messages)} distinct messages")
    print(f"slowest {tally.slowest:.2f} CPU s (limit {CPU_SECONDS:g})")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    print(f"through the command: {dict(commands)}")
    for i, (mutant, why) in enumerate(tally.failures):
        asked.keep.mkdir(parents=True, exist_ok=True)
        (asked.keep / f"{asked.seed}-{i}.yaml").write_bytes(mutant.content)
        print(f"FAILED {asked.keep / f'{asked.seed}-{i}.yaml'} {list(mutant.overrides)}: {why}")
    return int(bool(tally.failures))


if __name__ == "__main__":
    sys.exit(main())
