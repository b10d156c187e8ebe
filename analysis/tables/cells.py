"""Several runs of one size and token count: of hyperparameters the best, of seeds all.

A cell is N and D, and whatever else sets runs apart: inputs of the law, groups, a corpus. Within a cell,
runs that differ in a learning rate, a batch or the like were trained to find the best of them; runs alike in
all of it are repeats, and a law goes through their mean.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import some
from analysis.tables.headings import folded

CELLS = ("best", "all")
SAME_TOKENS = 0.01  # relative: batches of several sizes end a little apart
# words of a column that is a hyperparameter, and those of one that was measured
TUNED = frozenset(("lr", "rate", "batch", "bs", "bsz", "gbs", "wd", "decay", "warmup", "momentum", "beta1",
                   "beta2", "eps", "epsilon", "dropout", "clip", "clipping"))  # fmt: skip
MEASURED = frozenset(("loss", "acc", "accuracy", "time", "second", "seconds", "sec", "hours", "throughput",
                      "error", "ppl", "perplexity", "grad", "norm"))  # fmt: skip
# what names a run or how it went, and says nothing of what was trained
NAMED = frozenset(("run_id", "run", "run_name", "name", "id", "label", "job_id", "trunk_id", "eval_id",
                   "role", "status", "status_reason", "flags", "seed", "seed_order", "git_commit", "device",
                   "budget", "created_at", "date", "host", "hostname", "user", "notes"))  # fmt: skip
SHAPE = ("depth", "width", "heads", "kv_heads", "context", "vocab_size", "unique_tokens")
# hyperparameters whose names do not say so, and other fields of numbers that a study may vary
OURS = frozenset(("b1", "b2", "clip_norm", "final_fraction"))
VARIED = ("z_loss", "mlp_ratio", "head_dim")
COUNTS = ("params", "params_body", "params_embedding", "params_head", "tokens", "epochs", "flops", "steps",
          "loss")  # fmt: skip
FEW = 40  # values of a column that sets groups of runs apart
DRAWS = 400  # of noisy losses


def tuned(column: str) -> bool:
    """Whether a column is a hyperparameter by its name."""
    words = set(folded(column).split("_"))
    return column in OURS or (bool(words & TUNED) and not words & MEASURED)


def factors(frame: Any) -> list[str]:
    """Columns of few values, in words or true and false, that may say what was trained: a corpus, say."""
    kinds = pd.api.types
    found = []
    for column in map(str, frame.columns):
        values = frame[column]
        words = not kinds.is_numeric_dtype(values.dtype) or kinds.is_bool_dtype(values.dtype)
        if words and folded(column) not in NAMED and not kinds.is_datetime64_any_dtype(values.dtype):
            try:
                count = values.nunique(dropna=False)
            except TypeError:  # cells that are lists
                continue
            if 2 <= count <= min(FEW, len(frame) // 2):
                found.append(column)
    return found


def set_apart(frame: Any) -> list[str]:
    """Columns of few numbers that may say what was trained, as a number for a corpus; not a shape, nor what
    follows from it."""
    numeric = [c for c in map(str, frame.columns) if pd.api.types.is_numeric_dtype(frame[c].dtype)]
    known = {*SHAPE, *COUNTS, *"NDCLM"}
    return [
        c
        for c in numeric
        if c not in known
        and not pd.api.types.is_bool_dtype(frame[c].dtype)
        and not set(folded(c).split("_")) & (MEASURED | NAMED)
        and folded(c) not in NAMED
        and 2 <= frame[c].nunique() <= min(FEW, len(frame) // 4)
    ]


def same_cells(frame: Any) -> np.ndarray:
    """Codes of rows of one N and D, as far as the frame has them."""
    n, d = (frame[x].to_numpy(float) if x in frame.columns else np.ones(len(frame)) for x in "ND")
    return near(n, d, np.zeros(len(frame), int))


def same_settings(frame: Any) -> np.ndarray:
    """Codes of rows of one size and token count that are alike in all that was chosen but seeds."""
    numeric = [c for c in map(str, frame.columns) if pd.api.types.is_numeric_dtype(frame[c].dtype)]
    chosen = [c for c in numeric if c in SHAPE or c in VARIED or tuned(c)]
    named = factors(frame)
    words = [c for c in map(str, frame.columns) if c == "variant" or c in named]
    return _joined(frame, ["params", "tokens", *chosen, *words])


def repeats(frame: Any) -> pd.DataFrame:
    """Rows of cells that differ by seeds alone, with the index of their ``cell``: cells in which a run has
    role ``noise``, or fitted runs say that their seeds differ."""
    frame = frame.assign(cell=same_settings(frame))
    declared = frame["cell"].isin(frame.loc[frame["role"] == "noise", "cell"]).to_numpy()
    # of fitted runs any other column of few numbers may be what was varied
    finer = pairs(frame["cell"].to_numpy(), joined(frame, set_apart(frame))[0])
    frame["cell"] = np.where(declared, frame["cell"], len(frame) + finer)
    several = np.zeros(len(frame), bool)
    for name in ("seed", "seed_order"):
        if name in frame.columns:
            several |= frame.groupby("cell")[name].transform("nunique").to_numpy() > 1
    return frame[declared | several]


def best(frame: Any, apart: Sequence[str] = (), *, rising: bool = False) -> tuple[np.ndarray, list[str]]:
    """Why rows are left out, empty where they are not: another setting is better in their cell; and notes.

    Args:
        frame: rows with columns N, D, L.
        apart: columns beside N and D that set cells apart; none of them is a hyperparameter.
        rising: whether L is better the larger it is.
    """
    nothing = np.full(len(frame), "", object)
    numeric = [c for c in map(str, frame.columns) if pd.api.types.is_numeric_dtype(frame[c].dtype)]
    swept = [c for c in numeric if tuned(c) and c not in apart and frame[c].nunique(dropna=False) > 1]
    if not len(frame):
        return nothing, []
    cell = _joined(frame, [*apart, *(c for c in SHAPE if c in numeric and c not in apart)])
    cell = near(frame["N"].to_numpy(float), frame["D"].to_numpy(float), cell)
    swept = [c for c in swept if _varies(cell, _codes(frame[c]))]
    setting = _joined(frame, swept)
    names = []
    for column in (c for c in factors(frame) if c not in apart):
        codes = _codes(frame[column])
        if swept and _alike(cell, setting, codes):
            names.append(column)
        else:
            cell = pairs(cell, codes)
    swept = [c for c in swept if _varies(cell, _codes(frame[c]))]
    setting = pairs(cell, _joined(frame, swept))
    log = np.log(frame["L"].to_numpy(float))
    rows = np.bincount(setting)
    mean = np.bincount(setting, -log if rising else log) / rows
    owner = np.zeros(len(rows), int)
    owner[setting] = cell
    alike = pairs(setting, _joined(frame, [c for c in numeric if _chosen(frame, c)]))
    noise = _repeats(alike, log)
    notes = _repeated(cell, alike, noise)
    if not swept:
        return nothing, notes
    order = np.lexsort((mean, owner))
    first = order[np.r_[True, np.diff(owner[order]) > 0]]  # the best setting of each cell
    chosen = np.zeros(len(rows), bool)
    chosen[first] = True
    several = np.bincount(owner) > 1
    edges = _edges(frame, swept, cell, chosen[setting]) & several
    bias = _luck(mean, owner, noise[0] / np.sqrt(rows)) if noise[1] else None
    what = some(swept) + (f" (and with it {some(names)})" if names else "")
    reasons = np.where(chosen[setting], "", f"another {some(swept)} is better in its cell").astype(object)
    return reasons, [_tuned_note(what, several, edges, bias), *notes]


def _tuned_note(what: str, several: np.ndarray, edges: np.ndarray, bias: float | None) -> str:
    count = int(several.sum())
    inside, outside = count - int(edges.sum()), int(edges.sum())
    luck = (
        f", here by about {bias:.2%}" if bias is not None else "; no repeats among these runs say by how much"
    )
    return (
        f"{count} of {len(several)} cells (size and tokens) hold several values of {what}: the best of each "
        f"is fitted, {inside} inside what was tried and {outside} at an end of it, where a better one may "
        f"lie beyond; the least of noisy losses is biased low{luck}; cells=all keeps every row"
    )


def _repeated(cell: np.ndarray, setting: np.ndarray, noise: tuple[float, int]) -> list[str]:
    if not noise[1]:
        return []
    several = len(np.unique(cell[np.bincount(setting)[setting] > 1]))
    return [
        f"{several} of {int(cell.max()) + 1} cells (size and tokens) hold several runs of the same settings: "
        f"all are fitted, so that the law goes through their mean; they differ by {noise[0]:.2%} "
        f"({noise[1]} d.f.)"
    ]


def _repeats(setting: np.ndarray, log: np.ndarray) -> tuple[float, int]:
    """Pooled standard deviation of log loss over runs of one setting, and its degrees of freedom; copies of a
    run say nothing of it."""
    seen = pd.DataFrame({"setting": setting, "log": log}).drop_duplicates()
    groups: Any = seen.groupby("setting")["log"]
    degrees = int((groups.size() - 1).sum())
    squares = float((groups.var(ddof=0) * groups.size()).sum())
    return (float(np.sqrt(squares / degrees)), degrees) if degrees else (np.nan, 0)


def _luck(mean: np.ndarray, owner: np.ndarray, error: np.ndarray) -> float:
    """By how much the least of noisy means lies below its own true one, over cells of several settings."""
    rng, found = np.random.default_rng(0), []
    order = np.argsort(owner, kind="stable")
    for rows in np.split(order, np.cumsum(np.bincount(owner))[:-1]):
        if len(rows) > 1:
            noise = error[rows] * rng.normal(size=(DRAWS, len(rows)))
            least = (mean[rows] + noise).argmin(axis=1)
            found.append(-float(noise[np.arange(DRAWS), least].mean()))
    return float(np.mean(found))


def _edges(frame: Any, swept: Sequence[str], cell: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Which cells have their best run at an end of what was tried of a hyperparameter."""
    found = np.zeros(int(cell.max()) + 1, bool)
    for column in swept:
        values = frame[column].to_numpy(float)
        grouped = pd.Series(values).groupby(cell)
        low, high = grouped.transform("min").to_numpy(), grouped.transform("max").to_numpy()
        ends = chosen & (low < high) & ((values <= low) | (values >= high))
        found[cell[ends]] = True
    return found


def near(n: np.ndarray, d: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """Codes of rows with one N, one code of ``apart`` and a D within ``SAME_TOKENS``."""
    same = pairs(pd.factorize(n)[0], apart)
    out, code, begin, last = np.zeros(len(n), int), -1, 0.0, -1
    for i in np.lexsort((d, same)):
        if same[i] != last or not d[i] <= begin * (1 + SAME_TOKENS):
            code, begin, last = code + 1, d[i], same[i]
        out[i] = code
    return out


def _codes(values: Any) -> np.ndarray:
    """One code a value; numbers to four digits, and an empty cell is a value of its own."""
    if pd.api.types.is_float_dtype(values.dtype):
        values = values.map(lambda v: float(f"{v:.4g}"))
    return pd.factorize(values, use_na_sentinel=False)[0]


def pairs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """One code per combination of two codes."""
    return np.unique(a.astype(np.int64) * (int(b.max(initial=0)) + 1) + b, return_inverse=True)[1].ravel()


def joined(frame: Any, columns: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """One code per combination of values of these columns, and the first row of each."""
    codes = _joined(frame, columns)
    return codes, np.unique(codes, return_index=True)[1]


def _joined(frame: Any, columns: Sequence[str]) -> np.ndarray:
    """One code per combination of values of these columns."""
    out = np.zeros(len(frame), np.int64)
    for column in columns:
        out = pairs(out, _codes(frame[column]))
    return out


def _chosen(frame: Any, column: str) -> bool:
    """Whether a column of numbers is of what was chosen for a run, by its name and how few values it has."""
    words = {column, *folded(column).split("_")}
    return not words & (MEASURED | NAMED) and frame[column].nunique() <= len(frame) // 2


def _varies(cell: np.ndarray, codes: np.ndarray) -> bool:
    """Whether some cell has several of these codes."""
    return len(np.unique(pairs(cell, codes))) > len(np.unique(cell))


def _alike(cell: np.ndarray, setting: np.ndarray, codes: np.ndarray) -> bool:
    """Whether within each cell a code is another name for a setting."""
    both = pairs(pairs(cell, setting), codes).max()
    return both == pairs(cell, setting).max() == pairs(cell, codes).max()
