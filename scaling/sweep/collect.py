"""Records -> runs.csv and curves.parquet. Made again from the same records, the table is the same bytes.

Runs without a record are no rows: they are returned as :class:`Missing`, each with its cause.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling.errors import UserError
from scaling.plan.plan import Plan, PlannedRun, load_plan
from scaling.store.files import aside, write_text
from scaling.store.metrics import Row, read_metrics
from scaling.store.records import Record
from scaling.store.store import State, Store
from scaling.sweep.status import status

COLUMNS: tuple[str, ...] = (
    *("run_id", "label", "study", "role", "status", "status_reason", "flags"),
    *("job_id", "trunk_id", "eval_id"),
    *("params", "params_embedding", "params_head", "params_body", "tokens", "unique_tokens", "epochs"),
    *("flops", "flops_full_attention", "flops_6n_total", "flops_6n_body", "flops_spent"),
    *("depth", "width", "heads", "kv_heads", "context", "vocab_size", "tokenizer", "optimizer", "schedule"),
    *("warmup_tokens", "decay_tokens", "batch_tokens", "steps", "learning_rate", "weight_decay"),
    *("precision", "seed", "loss", "loss_se_eval", "bits_per_byte", "eval_tokens", "train_loss"),
    *("tokens_per_second", "mfu", "wall_seconds", "device", "git_commit", "budget"),
)
CURVE_COLUMNS: tuple[str, ...] = (
    *("step", "tokens", "flops", "wall_time", "train/loss", "train/grad_norm", "train/learning_rate"),
    "eval/loss",
)
INTEGER_CURVES = frozenset({"step", "tokens"})


@dataclass(frozen=True)
class Missing:
    """A planned run without a record, and why."""

    run_id: str
    label: str
    role: str
    state: State
    cause: str


@dataclass(frozen=True)
class Collected:
    """What became of every run. ``len(plan.runs) == rows + len(missing)``.

    ``strays`` have records but are not in this plan (an earlier one asked for them). ``torn_lines`` of
    metrics were skipped, ``repeated_steps`` had a value twice (the later one counts). ``empty`` gives, for
    each column that is unknown in some rows, in how many.
    """

    table: Path
    curves: Path
    rows: int
    diverged: int
    missing: tuple[Missing, ...]
    strays: tuple[str, ...]
    torn_lines: int
    repeated_steps: int
    empty: dict[str, int]

    @property
    def summary(self) -> str:
        parts = [f"{self.rows} runs ({self.diverged} diverged)"]
        parts += [f"{n} {state}" for state, n in sorted(Counter(m.state for m in self.missing).items())]
        counts = {
            "of an earlier plan, left out": len(self.strays),
            "torn metrics lines skipped": self.torn_lines,
            "steps logged twice": self.repeated_steps,
        }
        return ", ".join(parts + [f"{number} {what}" for what, number in counts.items() if number])


def collect(folder: Path) -> Collected:
    """Write runs.csv and curves.parquet of the study in ``folder``; rows are in the plan's order.

    Raises:
        UserError: the folder holds no study, or its plan.json is damaged.
    """
    store = Store(Path(folder))
    plan, now = load_plan(store), status(folder)
    rows, curves, missing = [], [], []
    torn = repeated = 0
    for run, state in zip(plan.runs, now.rows, strict=True):
        record = _record(store, run)
        if record is None or not plan.evaluates(record):
            where = "" if state.step is None else f", at step {state.step} of {state.steps}"
            cause = state.reason or f"{state.state}{where}"
            missing.append(Missing(run.run_id, run.label, run.role, state.state, cause))
            continue
        rows.append(table_row(plan, run, record))
        metrics = read_metrics(store.run_dir(run.run_id) / "metrics.jsonl")
        points, twice = _curve(run.run_id, metrics.rows)
        curves += points
        torn, repeated = torn + metrics.skipped, repeated + twice
    write_text(store.table, _csv(rows))
    _write_parquet(store.curves, curves)
    empty = {name: count for name in COLUMNS if (count := sum(row[name] is None for row in rows))}
    diverged = sum(row["status"] == "diverged" for row in rows)
    strays = tuple(sorted(store.recorded() - plan.by_id.keys()))
    return Collected(
        store.table, store.curves, len(rows), diverged, tuple(missing), strays, torn, repeated, empty
    )


def _record(store: Store, run: PlannedRun) -> Record | None:
    try:
        return store.record(run.run_id)
    except UserError:  # its status says that it cannot be read
        return None


def table_row(plan: Plan, planned: PlannedRun, record: Record) -> Row:
    """One row of the runs table: every column, None where unknown."""
    run, result, execution = planned.run, record.result, record.execution
    flops, params = run.flops(), result.params
    known = {
        **{name: getattr(planned, name) for name in ("run_id", "label", "role", "job_id", "trunk_id")},
        "budget": planned.budget,
        **{name: getattr(run.shape, name) for name in ("depth", "width", "heads", "kv_heads", "context")},
        **{name: getattr(result, name) for name in ("status", "status_reason", "eval_id", "tokens", "steps")},
        **{name: getattr(result, name) for name in ("loss", "loss_se_eval", "bits_per_byte", "eval_tokens")},
        **{name: getattr(execution, name) for name in ("tokens_per_second", "mfu", "wall_seconds", "device")},
        "study": plan.study,
        "flags": "|".join(result.flags) or None,
        "params": params.total,
        **{f"params_{name}": getattr(params, name) for name in ("embedding", "head", "body")},
        "unique_tokens": result.unique_tokens,
        "epochs": result.epochs,
        "flops": flops.flops,
        "flops_full_attention": flops.full_attention,
        "flops_6n_total": flops.six_n_total,
        "flops_6n_body": flops.six_n_body,
        "vocab_size": run.shape.vocab_size,
        "tokenizer": run.data.tokenizer,
        "optimizer": run.optimizer.kind,
        "schedule": run.schedule.kind,
        "warmup_tokens": run.schedule.warmup * run.batch_tokens,
        "decay_tokens": run.decay_steps * run.batch_tokens,
        "batch_tokens": run.batch_tokens,
        "learning_rate": run.optimizer.learning_rate,
        "weight_decay": run.optimizer.weight_decay,
        "precision": run.precision,
        "seed": run.seed,
        "train_loss": result.train_loss,
        "flops_spent": execution.flops_spent,
        "git_commit": execution.git_commit,
    }
    return {name: _known(known[name]) for name in COLUMNS}


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    # Whole numbers beyond 2^63 would be read back as text: they are written as floats.
    writer.writerows(
        [float(v) if isinstance(v, int) and abs(v) >= 2**63 else v for v in map(row.__getitem__, COLUMNS)]
        for row in rows
    )
    return text.getvalue()


def _curve(run_id: str, metrics: Sequence[Row]) -> tuple[list[Row], int]:
    """One point per step (training and evaluation rows of a step together), by step; and repeated values."""
    points: dict[int, Row] = {}
    repeated = 0
    for row in metrics:
        point = points.setdefault(row["step"], {"run_id": run_id})
        repeated += any(key in point for key in row if "/" in key)
        point.update(row)
    return [points[step] for step in sorted(points)], repeated


def _write_parquet(path: Path, points: Sequence[Row]) -> None:
    import pyarrow
    import pyarrow.parquet

    columns = {"run_id": pyarrow.array([point["run_id"] for point in points], pyarrow.string())}
    for name in CURVE_COLUMNS:
        kind = pyarrow.int64() if name in INTEGER_CURVES else pyarrow.float64()
        cast = int if name in INTEGER_CURVES else float
        values = [None if (value := _known(point.get(name))) is None else cast(value) for point in points]
        columns[name] = pyarrow.array(values, kind)
    with aside(path) as other:
        pyarrow.parquet.write_table(pyarrow.table(columns), other, compression="zstd")
