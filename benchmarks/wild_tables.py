"""Tables as people have them: one table of runs, changed as other tools, spreadsheets and hands change it.

Whoever understands the changes gets the parameters of the clean table.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

SIZES, RATIOS, NOISE = (1.2e7, 3e7, 8e7, 2e8, 5e8, 1.3e9, 3e9), (5, 20, 60, 150), 0.002
CONTEXT = 1024


def law(n: np.ndarray, d: np.ndarray) -> np.ndarray:
    return 1.7 + 420 / n**0.34 + 900 / d**0.30


def clean(seed: int = 0) -> pd.DataFrame:
    """28 runs on a grid of sizes and tokens per parameter."""
    n = np.repeat(SIZES, len(RATIOS))
    d = np.round(n * np.tile(RATIOS, len(SIZES)) / CONTEXT) * CONTEXT
    noise = np.exp(NOISE * np.random.default_rng(seed).standard_normal(len(n)))
    return pd.DataFrame({"params": n, "tokens": d, "flops": 6 * n * d, "loss": law(n, d) * noise})


@dataclass
class Wild:
    """A table under change.

    ``cells`` has our column names, ``heading`` what the file calls them. ``causes``: words, one of which a
    note must contain where the parameters come out otherwise than those of the clean table.
    """

    cells: pd.DataFrame
    heading: dict[str, str] = field(default_factory=dict)
    causes: list[str] = field(default_factory=list)
    delimiter: str = ","
    decimal: str = "."
    encoding: str = "utf-8"

    def has(self, *columns: str) -> bool:
        return all(c in self.cells and pd.api.types.is_numeric_dtype(self.cells[c]) for c in columns)

    def blame(self, *words: str) -> None:
        self.causes += words

    def replace(self, column: str, **others: object) -> None:
        self.cells = self.cells.drop(columns=column).assign(**others)
        self.heading.pop(column, None)

    def text(self) -> bytes:
        file = self.cells.rename(columns=self.heading)
        text = file.to_csv(sep=self.delimiter, decimal=self.decimal, index=False)
        return text.encode(self.encoding)


Change = Callable[[random.Random, Wild], None]
COUNTS = ("params", "tokens", "flops")
NAMES = {
    "params": ("N", "n_params", "Model Size", "num_parameters", "model/params"),
    "tokens": ("D", "train_tokens", "Tokens", "tokens_seen", "Training Tokens"),
    "flops": ("C", "Training FLOP", "total_flops", "compute", "flops_budget"),
    "loss": ("L", "val_loss", "Validation Loss", "eval/loss", "final_loss"),
}
SCALES = {"K": 1e3, "M": 1e6, "B": 1e9, "1e6": 1e6, "in millions": 1e6, "in billions": 1e9, "x 1e9": 1e9}
STATES = (
    ("finished", "crashed"), ("FINISHED", "FAILED"), ("COMPLETED", "CANCELLED"), ("TERMINATED", "ERROR"),
    ("completed", "killed"), ("finished", "running"),
)  # fmt: skip
COMPUTE = {"PFLOPs": 1e15, "ExaFLOPs": 1e18, "1e18": 1e18, "1E21": 1e21, "PF-days": 8.64e19, "GFLOPs": 1e9}


def names(rng: random.Random, wild: Wild) -> None:
    """Other names."""
    for column in NAMES:
        if column in wild.cells and column not in wild.heading and rng.random() < 0.6:
            wild.heading[column] = rng.choice(NAMES[column])


def scaled(rng: random.Random, wild: Wild) -> None:
    """A unit in the heading."""
    column = rng.choice([c for c in COUNTS if wild.has(c)] or [""])
    if column:
        unit, factor = rng.choice(list((COMPUTE if column == "flops" else SCALES).items()))
        wild.cells[column] /= factor
        wild.heading[column] = f"{wild.heading.get(column, column)} ({unit})"


def unsaid(rng: random.Random, wild: Wild) -> None:
    """A unit that nobody states."""
    column = rng.choice([c for c in COUNTS if wild.has(c)] or [""])
    if column:
        wild.cells[column] /= rng.choice((1e6, 1e9, 1e12))
        wild.blame(f"{column}: given in units of")


def suffixed(rng: random.Random, wild: Wild) -> None:
    """Cells such as 70M, all or a few."""
    plain = [c for c in ("params", "tokens") if wild.has(c) and "(" not in wild.heading.get(c, "")]
    column = rng.choice(plain or [""])
    if column:
        some = rng.random() < 0.3
        wild.cells[column] = [
            f"{x / 1e6:.6g}M" if x < 1e9 and not (some and rng.random() < 0.5) else f"{x / 1e9:.7g}B"
            if not some else f"{x:.0f}"
            for x in wild.cells[column]
        ]  # fmt: skip


def steps_of_tokens(rng: random.Random, wild: Wild) -> None:
    """Steps and a batch for tokens."""
    if not wild.has("params", "tokens"):
        return
    d = wild.cells["tokens"]
    batch = CONTEXT * np.array([rng.choice((64, 128, 256)) for _ in d]) if rng.random() < 0.6 else 65536
    steps = d / batch
    if rng.random() < 0.5:
        wild.replace("tokens", train_steps=steps, batch_size_tokens=batch)
    else:
        wild.replace("tokens", steps=steps, batch_size=batch // CONTEXT, seq_len=CONTEXT)


def ratio(rng: random.Random, wild: Wild) -> None:
    """Tokens per parameter for tokens."""
    if wild.has("params", "tokens"):
        name = rng.choice(("token_multiplier", "tokens_per_param", "D/N"))
        wild.replace("tokens", **{name: wild.cells["tokens"] / wild.cells["params"]})


def without(rng: random.Random, wild: Wild) -> None:
    """Compute in place of tokens or parameters."""
    if wild.has("params", "tokens", "flops"):
        wild.cells = wild.cells.drop(columns=rng.choice(("params", "tokens")))


def no_compute(rng: random.Random, wild: Wild) -> None:
    if wild.has("params", "tokens", "flops"):
        wild.cells = wild.cells.drop(columns="flops")


def perplexity(rng: random.Random, wild: Wild) -> None:
    """exp(loss), named or not."""
    if wild.has("loss"):
        wild.cells["loss"] = np.exp(wild.cells["loss"])
        wild.heading["loss"] = rng.choice(("perplexity", "val_ppl", "ppl", "loss", "loss (perplexity)"))
        wild.blame("perplexity")


def bits(rng: random.Random, wild: Wild) -> None:
    """Bits, said in the heading."""
    if wild.has("loss"):
        wild.cells["loss"] /= np.log(2)
        wild.heading["loss"] = "loss (bits)"


def distractors(rng: random.Random, wild: Wild) -> None:
    """Columns that are something else."""
    rows = len(wild.cells)
    others = {
        "tokens_per_second": [rng.uniform(1e5, 2e6) for _ in range(rows)],
        "train_loss": [rng.uniform(2, 4) for _ in range(rows)],
        "batch_tokens": [rng.choice((65536, 131072)) for _ in range(rows)],
        "tokenizer": ["gpt2"] * rows,
        "data_seed": [rng.randrange(3) for _ in range(rows)],
        "gpu_hours": [rng.uniform(1, 900) for _ in range(rows)],
        "Unnamed: 0": list(range(rows)),
        "loss_scale": [65536.0] * rows,
        "params_dtype": ["bfloat16"] * rows,
    }
    for name in rng.sample(list(others), 3):
        if name not in wild.cells:
            wild.cells.insert(rng.randrange(wild.cells.shape[1] + 1), name, others[name])


def states(rng: random.Random, wild: Wild) -> None:
    """Runs that crashed, in a tracker's words."""
    if "state" in wild.cells or not wild.has("loss"):
        return
    good, bad = rng.choice(STATES)
    broken = wild.cells.sample(6, random_state=rng.randrange(10**6))
    broken = broken.assign(loss=broken["loss"] * rng.uniform(1.2, 2.5))
    wild.cells = pd.concat([wild.cells.assign(state=good), broken.assign(state=bad)], ignore_index=True)
    wild.heading["state"] = rng.choice(("State", "status", "state", "run_state"))
    wild.blame(bad)


def history(rng: random.Random, wild: Wild) -> None:
    """Several rows a run, of which the last counts."""
    if not wild.has("params", "tokens", "loss") or "run" in wild.cells:
        return
    parts = []
    for share in (0.25, 0.5, 0.75, 1.0):
        part = wild.cells.assign(run=[f"run-{i:03}" for i in range(len(wild.cells))])
        part["tokens"] *= share
        part["loss"] *= 1 + 0.15 * (1 - share)
        parts.append(part.drop(columns="flops", errors="ignore"))
    wild.cells = pd.concat(parts).sort_values(["run", "tokens"], ignore_index=True)
    wild.heading["run"] = rng.choice(("run", "run_id", "Name", "run_name"))
    wild.blame("run")


def learning_rates(rng: random.Random, wild: Wild) -> None:
    """A sweep inside each cell; the rate of the clean table is the best."""
    if not wild.has("loss") or {"lr", "run"} & set(wild.cells):
        return
    parts = [
        wild.cells.assign(lr=3e-4 * 2.0**k, loss=wild.cells["loss"] * (1 + 0.03 * k * k))
        for k in (-2, -1, 0, 1, 2)
    ]
    wild.cells = pd.concat(parts, ignore_index=True)
    wild.heading["lr"] = rng.choice(("lr", "learning_rate", "peak_lr"))
    wild.blame("learning_rate", "lr")


def pooled(rng: random.Random, wild: Wild) -> None:
    """Two corpora, one with a higher loss."""
    if not wild.has("loss") or "corpus" in wild.cells:
        return
    other = wild.cells.assign(corpus="code", loss=wild.cells["loss"] * 1.25)
    wild.cells = pd.concat([wild.cells.assign(corpus="web"), other], ignore_index=True)
    wild.heading["corpus"] = rng.choice(("corpus", "dataset", "subset", "family"))
    wild.blame(wild.heading["corpus"])


def copies(rng: random.Random, wild: Wild) -> None:
    wild.cells = pd.concat([wild.cells, wild.cells.sample(5, random_state=1)], ignore_index=True)
    wild.blame("repeat", "duplicate")


def total(rng: random.Random, wild: Wild) -> None:
    """A last row of sums, as a spreadsheet makes."""
    numeric = [c for c in wild.cells if pd.api.types.is_numeric_dtype(wild.cells[c])]
    row = {c: wild.cells[c].sum() if c in numeric else "Total" for c in wild.cells}
    wild.cells = pd.concat([wild.cells, pd.DataFrame([row])], ignore_index=True)
    wild.blame("total", "sum")


def slip(rng: random.Random, wild: Wild) -> None:
    """One cell with a slip of the hand."""
    column = rng.choice([c for c in ("params", "tokens", "loss") if wild.has(c)] or [""])
    if column:
        at = rng.randrange(len(wild.cells))
        wild.cells[column] = wild.cells[column].astype(float)
        wild.cells.loc[at, column] *= rng.choice((10.0, 0.1, 1000.0, -1.0, float("nan")))
        wild.blame(f"line {at + 2} ", f"line {at + 2},", f"line {at + 2})")


def shuffled(rng: random.Random, wild: Wild) -> None:
    """Rows and columns in another order."""
    seed = rng.randrange(10**6)
    wild.cells = wild.cells.sample(frac=1, random_state=seed, ignore_index=True)
    wild.cells = wild.cells[rng.sample(list(wild.cells), wild.cells.shape[1])]


def spelling(rng: random.Random, wild: Wild) -> None:
    """Another delimiter, decimal sign or encoding."""
    wild.delimiter, wild.decimal = rng.choice(((";", ","), ("\t", "."), (";", "."), (",", ".")))
    wild.encoding = rng.choice(("utf-8", "utf-8-sig", "utf-16"))


CHANGES: tuple[Change, ...] = (
    names, names, scaled, scaled, unsaid, suffixed, steps_of_tokens, ratio, without, no_compute, perplexity,
    bits, distractors, distractors, states, history, learning_rates, pooled, copies, total, slip, shuffled,
    spelling,
)  # fmt: skip


def wild_table(rng: random.Random) -> tuple[Wild, str]:
    """The clean table after one to three changes, and their names."""
    wild, chosen = Wild(clean()), rng.sample(CHANGES, rng.choice((1, 1, 2, 2, 3)))
    for change in chosen:
        change(rng, wild)
    return wild, ", ".join(change.__name__ for change in chosen)
