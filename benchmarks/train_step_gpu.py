"""Tokens per second and MFU of the training step on an accelerator, beside torch.compile; then packing.

    python benchmarks/train_step_gpu.py [--out rows.jsonl] [--minutes 9] [--torch-python PYTHON]
                                        [--items 350M pack-1M ...]

Products in bfloat16. Each item is a size of model, trained by ours (the very program that jobs run, with the
attention kernel that it chooses) and by torch.compile (a nanoGPT-style step under autocast with flash
attention, fused AdamW, clipping), or a size whose runs are packed, K of them in one program. Items are
ordered by value; each contestant is a process of its own, which has the device alone. A row is appended to
``--out`` and printed as soon as it is measured; what does not fit in ``--minutes`` is left out, and says so.
The table for benchmarks/README.md, of all rows in the file, comes last.

MFU is the FLOPs of the step, without recomputation, over the stated peak of the device. Times are of wall
clock: the median of three turns of ``--seconds``, after two calls that are not counted.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.trainers import CONTESTANTS, Case, Trainer, parameters, shape_of, step_flops  # noqa: E402

GPT2 = 50_304  # tokens of GPT-2's vocabulary, padded to a multiple of 64
CASES = {
    "350M": Case(depth=24, width=1024, heads=16, context=2048, batch=16, vocab=GPT2, call=4),
    "125M": Case(depth=12, width=768, heads=12, context=1024, batch=32, vocab=GPT2, call=8),
    "pack-1M": Case(depth=5, width=128, heads=2, context=1024, batch=8),
    "1.3B": Case(depth=24, width=2048, heads=16, context=2048, batch=8, vocab=GPT2, call=2),
    "10M": Case(depth=6, width=384, heads=6, context=1024, batch=64),
    "1M": Case(depth=5, width=128, heads=2, context=1024, batch=64),
    "50M": Case(depth=8, width=512, heads=8, context=1024, batch=32, vocab=GPT2),
    "pack-0.3M": Case(depth=6, width=64, heads=1, context=1024, batch=8),
    "pack-5M": Case(depth=6, width=256, heads=4, context=1024, batch=8),
    "tiny": Case(depth=1, width=16, heads=2, context=32, batch=2, call=2),  # these two are for tests
    "pack-tiny": Case(depth=1, width=16, heads=2, context=32, batch=2, call=2),
}
ITEMS = tuple(name for name in CASES if "tiny" not in name)  # by value
PACK_SIZES = {name: (1, 32, 8, 16, 4, 2) for name in ("pack-1M", "pack-0.3M", "pack-5M")} | {
    "pack-tiny": (1, 2)
}  # runs of one program, by value
SHORTEST, LONGEST = 20, 150  # seconds of one process


# --- a contestant's process: one row a line ---


def measure(trainer: Trainer, case: Case, seconds: float) -> dict[str, Any]:
    """Return the wall-clock figures of a step."""
    began = time.perf_counter()
    trainer.train(case.call)
    first = time.perf_counter() - began
    began = time.perf_counter()
    trainer.train(case.call)
    estimate = (time.perf_counter() - began) / case.call
    steps = case.call * max(1, math.ceil(seconds / estimate / case.call))
    turns = list[float]()
    for _ in range(3):
        began = time.perf_counter()
        trainer.train(steps)
        turns.append((time.perf_counter() - began) / steps)
    return {
        "seconds_per_step": statistics.median(turns),
        "spread": (max(turns) - min(turns)) / min(turns),
        "first_call_seconds": first,
        **trainer.facts,
    }


def rows_of(contestant: str, item: str, device: str, seconds: float) -> Iterator[dict[str, Any]]:
    """Measure an item; one row, or one for each K of a pack, and one for each way that did not fit."""
    for pack in PACK_SIZES.get(item, (1,)):
        case = replace(CASES[item], device=device, precision="bfloat16")
        for layout, way in ways(contestant, case, pack):
            row = {"pack": pack, "batch": way.batch, "layout": layout}
            began = time.perf_counter()
            try:
                measured = measure(CONTESTANTS[contestant](way), way, seconds)
            except Exception as error:
                if not out_of_memory(error):
                    raise
                yield row | {"failed": "out of memory"}
            else:
                yield row | {"process_seconds": time.perf_counter() - began, **measured}
                break


def ways(contestant: str, case: Case, pack: int) -> Iterator[tuple[str, Case]]:
    """Give the ways of laying a case out, the fastest first: memory decides how far one has to go."""
    if contestant != "ours":
        for halvings in range(3):
            yield "", replace(case, batch=case.batch >> halvings)
        return
    from scaling.counts.lowering import Lowering
    from scaling.train.kernels import attention_kernel

    kernel = attention_kernel(shape_of(case), "bfloat16")
    for remat, chunks in (("none", 1), ("none", 8), ("block", 8), ("full", 8)):
        lowering = Lowering(attention=kernel, remat=remat, logit_chunks=chunks)
        yield f"{kernel}, remat {remat}, logits in {chunks}", replace(case, lowering=lowering, pack=pack)


def out_of_memory(error: Exception) -> bool:
    return "RESOURCE_EXHAUSTED" in str(error) or type(error).__name__ == "OutOfMemoryError"


# --- the parent: processes, rows, table ---


def launched(argv: Sequence[str], environment: dict[str, str], limit: float) -> Iterator[dict[str, Any]]:
    """Give the rows of a process as it prints them; if it fails, the last one says why."""
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
        assert process.stdout
        timer = threading.Timer(limit, process.kill)
        timer.start()
        try:
            yield from (json.loads(line) for line in process.stdout if line.startswith("{"))
            status = process.wait()
        finally:
            late = not timer.is_alive()
            timer.cancel()
            process.kill()
            process.wait()
        if status:
            errors.seek(0)
            reason = (errors.read().strip().splitlines() or ["no reason given"])[-1]
            yield {"failed": f"not done within {limit:.0f} s" if late else reason[:300]}


def environments(device: str) -> dict[str, dict[str, str]]:
    """Return the environment of each contestant; ours is that of a job."""
    from scaling.sweep.machine import Layout, Slot, has_glibc, launch_environment

    layout = Layout(device, (Slot(),), threads=len(os.sched_getaffinity(0)))
    base = dict(os.environ, XLA_PYTHON_CLIENT_MEM_FRACTION="0.92")
    return {"ours": launch_environment(base, layout, glibc=has_glibc()), "torch.compile": dict(os.environ)}


def finished(row: dict[str, Any]) -> dict[str, Any]:
    """Add what follows from the seconds of a step."""
    from scaling.counts.chips import chip_of

    if "failed" in row:
        return row
    case = replace(CASES[row["item"]], batch=row["batch"])
    each, chip = row["pack"] / row["seconds_per_step"], chip_of(row["device"])
    return row | {
        "parameters": parameters(case),
        "tokens_per_second": each * case.tokens,
        "mfu": each * step_flops(case) / chip.bfloat16 if chip else None,
    }


def run(options: argparse.Namespace) -> None:
    """Measure item after item while there is time, each row written as it is measured."""
    from scaling.sweep.machine import find_device

    deadline, device = time.monotonic() + 60 * options.minutes, find_device(os.environ)
    environment = environments(device)
    with options.out.open("a") as file:
        for item in options.items:
            for contestant in ("ours",) if item in PACK_SIZES else ("ours", "torch.compile"):
                left = deadline - time.monotonic()
                python = sys.executable if contestant == "ours" else options.torch_python
                argv = [python, __file__, "--seconds", str(options.seconds)]
                argv += ["--worker", contestant, item, device]
                rows: Iterable[dict[str, Any]] = [{"failed": "no time left"}]
                if left > SHORTEST:
                    rows = launched(argv, environment[contestant], min(left, LONGEST))
                for row in rows:
                    now = datetime.now(UTC).isoformat(timespec="seconds")
                    done = finished({"item": item, "contestant": contestant, "at": now, **row})
                    line = json.dumps(done)
                    print(line, flush=True)
                    file.write(line + "\n")
                    file.flush()


def table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as Markdown, in the order measured; of a size measured again, all."""
    measured = [row for row in rows if "failed" not in row]
    lines = sorted({f"{row['at'][:10]}, {row['device']}, {row['versions']}" for row in measured})
    single = {row["item"]: row["tokens_per_second"] for row in measured if row["pack"] == 1}
    lines += [
        "",
        "| | | parameters | tokens a step | tokens/s | MFU | against K = 1 | laid out |",
        "|" + " --- |" * 8,
    ]
    for row in rows:
        name = row["contestant"] + (
            f", K = {row['pack']}" if row["item"] in PACK_SIZES and "pack" in row else ""
        )
        if "failed" in row:
            lines.append(f"| {row['item']} | {name} | | | {row['failed']} | | | {row.get('layout', '')} |")
            continue
        mfu = "" if row["mfu"] is None else f"{row['mfu']:.1%}"
        more = f"{row['tokens_per_second'] / single[row['item']]:.2f}x" if row["pack"] > 1 else ""
        tokens = row["batch"] * CASES[row["item"]].context * row["pack"]
        figures = f"{row['parameters']:,} | {tokens:,} | {row['tokens_per_second']:,.0f} | {mfu} | {more}"
        lines.append(f"| {row['item']} | {name} | {figures} | {row['layout']} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("train_step_gpu.jsonl"))
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--seconds", type=float, default=1, help="of a turn")
    parser.add_argument("--torch-python", default=sys.executable, help="an interpreter that has torch")
    parser.add_argument("--items", nargs="+", choices=CASES, default=ITEMS)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        for row in rows_of(*options.worker, options.seconds):
            print(json.dumps(row), flush=True)
        return
    run(options)
    print(table([json.loads(line) for line in options.out.read_text().splitlines()]))


if __name__ == "__main__":
    main()
