"""One table of runs in many spellings, through ``analysis.load``: right, refused with advice, or wrong.

    python benchmarks/spell_tables.py [--count 1000] [--seed 0]

Size, tokens, compute and loss stand there under names and in units that people use, or follow from steps,
batches and ratios, beside columns that look like them. A refusal's advice is followed by the letter.
What comes out must be the runs that went in, unless a note names the cause; exit code 1 if not.
The same seed makes the same tables.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from analysis import AnalysisError
from analysis.tables.table import about
from tests.analysis.advice import load_as_advised

UNITS = {"thousands": ("K", 1e3), "millions": ("M", 1e6), "billions": ("B", 1e9)}
SIZE = ("params", "N", "n_params", "num_params", "Model Size", "parameter_count", "model.params")
TOKENS = ("tokens", "D", "train_tokens", "tokens_seen", "Training Tokens", "throughput/total_tokens")
COMPUTE = {
    1.0: ("flops", "C", "train_flops", "compute_budget"), 1e9: ("GFLOPs", "total_gflops"), 1e18: ("ExaFLOPs",
    "compute (EFLOPs)", "FLOPs (1e18)", "C (x10^18)"), 1e21: ("FLOPs (1E21)", "flops_1e21"),
    8.64e19: ("Compute (PF-days)", "compute_pf_days"), 8.6e19: ("compute", "C"),
}  # fmt: skip
LOSS = {
    "nats": ("loss", "val_loss", "eval/loss", "L"), "ppl": ("perplexity", "val_ppl", "loss (ppl)"),
    "bpb": ("val_bpb", "bits_per_byte", "loss (bits/byte)"), "%": ("loss",),
}  # fmt: skip
BESIDE = {
    "tokens_per_second": "2.5e5", "lr": "3e-4", "eval_tokens": "1e7", "epoch": "1", "train/loss": "3.1",
    "state": "finished", "seed": "0", "tflops": "250", "mfu": ".4", "vocab_size": "50257", "loss_std": ".01",
    "n_embd": "512", "tokenizer": "gpt2", "gpu_hours": "17", "warmup_tokens": "1e8", "step_time": "0.3",
}  # fmt: skip
Column = tuple[str, list[str]]


def counts(rng: random.Random, names: tuple[str, ...], values: np.ndarray) -> Column:
    """Counts under one of the names, in a unit that heading or cells state, or nothing does."""
    name, (word, (letter, scale)) = rng.choice(names), rng.choice(list(UNITS.items()))
    scaled = [f"{value / scale:.10g}" for value in values]
    match rng.randrange(7):
        case 0:
            return f"{name} ({letter})", scaled
        case 1:
            return f"{name} (in {word})", scaled
        case 2:
            return f"{name}_{letter.lower()}" if name.islower() else f"{name} {letter}", scaled
        case 3:
            return name, [value + letter for value in scaled]
        case 4 if letter != "K":  # in thousands a large model looks like a small one
            return name, scaled
    return name, [f"{value:.0f}" for value in values]


def table(rng: random.Random) -> tuple[list[Column], dict[str, np.ndarray]]:
    """Columns and the runs they tell of."""
    n = np.repeat([10 ** rng.uniform(6.5, 10) for _ in range(rng.choice((4, 6)))], 4).round()
    d = (n * np.exp([rng.uniform(2, 4.5) for _ in n])).round()
    columns = [counts(rng, SIZE, n)]
    way = rng.choice(("tokens", "tokens", "steps", "sequences", "ratio", "compute"))
    batch, length = rng.choice((2**16, 2**20)), rng.choice((1024, 2048))
    if way in ("steps", "sequences"):
        steps = np.maximum(1, (d / batch).round())
        d = steps * batch
        columns.append((rng.choice(("steps", "train_steps")), [f"{s:.0f}" for s in steps]))
    match way:
        case "tokens":
            columns.append(counts(rng, TOKENS, d))
        case "steps":
            columns.append((rng.choice(("batch_tokens", "batch_size_tokens")), [str(batch)] * len(n)))
        case "sequences":
            columns.append((rng.choice(("batch_size", "bs")), [str(batch // length)] * len(n)))
            columns += [("seq_len", [str(length)] * len(n))][: rng.randrange(4)]
        case "ratio":
            columns.append((rng.choice(("token_multiplier", "D/N")), [f"{x:.10g}" for x in d / n]))
    if way == "compute" or rng.random() < 0.4:
        scale = rng.choice(list(COMPUTE))
        columns.append(
            (rng.choice(COMPUTE[scale]), [f"{6 * x * y / scale:.10g}" for x, y in zip(n, d, strict=True)])
        )
    kind, loss = rng.choice(list(LOSS)), 1.7 + 400 / n**0.34 + 900 / d**0.3
    loss = loss / 4.3 if kind == "bpb" else loss
    shown = {"nats": loss, "ppl": np.exp(loss), "bpb": loss / np.log(2), "%": 100 * loss}[kind]
    columns.append((rng.choice(LOSS[kind]), [f"{x:.10g}" + "%" * (kind == "%") for x in shown]))
    columns += [(c, [BESIDE[c]] * len(n)) for c in rng.sample(list(BESIDE), rng.randrange(6))]
    rng.shuffle(columns)
    return columns, {"params": n, "tokens": d, "loss": loss}


def attempt(path: Path, runs: dict[str, np.ndarray]) -> str:
    """``right``, ``advised``, ``refused``, ``noted``, or ``wrong`` and in what."""
    try:
        frame, refusals = load_as_advised(path)
    except AnalysisError:
        return "refused"
    off = [c for c, values in runs.items() if not np.allclose(frame[c], values, rtol=2e-3)]
    if not off:
        return "advised" if refusals else "right"
    unusual = any("if that is not so" in note for note in about(frame).notes)
    return "noted" if unusual else f"wrong: {', '.join(off)}"


def main(count: int, seed: int) -> int:
    tally: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.csv"
        for i in range(seed, seed + count):
            columns, runs = table(random.Random(i))
            with path.open("w", newline="") as file:
                out = csv.writer(file)
                out.writerow([name for name, _ in columns])
                out.writerows(zip(*(cells for _, cells in columns), strict=True))
            outcome = attempt(path, runs)
            tally[outcome.partition(":")[0]] += 1
            if outcome.startswith("wrong"):
                print(f"seed {i}: {outcome}: {', '.join(name for name, _ in columns)}")
    print(", ".join(f"{what} {n}" for what, n in tally.most_common()))
    return int(tally["wrong"] > 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sys.exit(main(given.count, given.seed))
