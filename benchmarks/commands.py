"""CPU seconds of commands that a user waits for, against the limits we set them.

    python benchmarks/commands.py

``scaling --help``: 0.3 CPU seconds. ``scaling plan`` of 1,000 runs, speed already measured: 3; of 10,000, as
a grid and as isoFLOP windows that leave as many out, without the speed: 10. Medians of 5, of these of 3; exit
code 1 when a limit is passed.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

SPEC = """
study: thousand
data: {corpus: state-of-the-union, tokenizer: bytes, context: 64}
family: {kind: width-dial, depth: 2, widths: [16, 24, 32, 40, 48, 56, 64, 72, 80, 88], head_dim: 8}
recipe:
  optimizer: {kind: adamw, learning_rate: {kind: power, of: width, coefficient: 0.2, exponent: -1}}
  schedule: {kind: wsd}
  batch_tokens: 256
design: {kind: grid, tokens: [1e6, 2e6, 3e6, 4e6, 5e6, 6e6, 7e6, 8e6, 9e6, 1e7]}
seeds: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
"""


LARGE = """
study: ten-thousand
data: {corpus: state-of-the-union, tokenizer: bytes, context: 64}
family: {kind: width-dial, depth: 2, widths: [WIDTHS], head_dim: 8}
recipe:
  optimizer: {kind: adamw, learning_rate: {kind: power, of: width, coefficient: 0.2, exponent: -1}}
  schedule: {kind: wsd}
  batch_tokens: 256
"""


def large_specs() -> dict[str, str]:
    """Return the names and texts of specs of 10,000 runs."""
    tokens = ", ".join(str(500_000 + 10_240 * i) for i in range(200))
    budgets = ", ".join(f"{1e14 * 1.05**i:.6g}" for i in range(100))
    window = "window: {center: {kind: ratio}, sizes: 50}"
    return {
        "grid": f"{_large(50)}design: {{kind: grid, tokens: [{tokens}]}}\n",
        "window": f"{_large(100)}seeds: [0, 1]\ndesign: {{kind: isoflop, budgets: [{budgets}], {window}}}\n",
    }


def _large(sizes: int) -> str:
    return LARGE.replace("WIDTHS", ", ".join(str(8 * i) for i in range(2, 2 + sizes)))


def cpu_seconds(*arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "scaling.cli", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "thousand.yaml"
        spec.write_text(SPEC)
        cpu_seconds("plan", str(spec))  # measures the speed of a step, once a machine
        late = 0
        for limit, arguments in ((0.3, ("--help",)), (3.0, ("plan", str(spec)))):
            seconds = statistics.median(cpu_seconds(*arguments) for _ in range(5))
            late += seconds > limit
            print(
                f"scaling {arguments[0]:8} {seconds:.3f} CPU s, limit {limit}, {limit / seconds:.1f}x below"
            )
        for name, text in large_specs().items():
            spec = Path(folder) / f"{name}.yaml"
            spec.write_text(text)
            seconds = statistics.median(cpu_seconds("plan", str(spec), "--no-probe") for _ in range(3))
            late += seconds > 10
            print(f"scaling plan, 10,000 runs, {name}: {seconds:.2f} CPU s, limit 10")
    return int(late > 0)


if __name__ == "__main__":
    sys.exit(main())
