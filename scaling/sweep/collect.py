"""Records -> runs.csv and curves.parquet. Made again from the same records, the table is the same bytes.

Runs without a record are no rows: they are returned as :class:`Missing`, each with its cause.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

from scaling.counts.lowering import Lowering
from scaling.errors import UserError, plural
from scaling.files import aside, write_text
from scaling.plan.plan import Plan, PlannedRun, load_plan
from scaling.run import ExternalRun
from scaling.store.folder import ResultsFolder, State
from scaling.store.metrics import Row, read_metrics
from scaling.store.records import Record
from scaling.sweep.flags import Recorded, flags
from scaling.sweep.status import status_rows


def _of(source: str, *names: str) -> dict[str, str]:
    return {name: f"{source}.{name}" for name in names}


# column -> what it is of a :class:`_Collected`
COLUMNS = {
    **_of("planned", "run_id", "label"),
    "study": "plan.study",
    **_of("planned", "role", "variant"),
    **_of("result", "status", "status_reason"),
    "flags": "flags",
    **_of("planned", "job_id", "trunk_id"),
    "eval_id": "result.eval_id",
    "params": "result.params.total",
    "params_embedding": "result.params.embedding",
    "params_head": "result.params.head",
    "params_body": "result.params.body",
    "params_active": "planned.params_active",
    "sparsity": "run.shape.sparsity",
    **_of("result", "tokens", "unique_tokens", "epochs"),
    "flops": "flops.flops",
    "flops_full_attention": "flops.full_attention",
    "flops_6n_total": "flops.six_n_total",
    "flops_6n_body": "flops.six_n_body",
    "flops_spent": "execution.flops_spent",
    **_of("run.shape", "depth", "width", "heads", "kv_heads", "context", "vocab_size"),
    "tokenizer": "run.data.tokenizer",
    "optimizer": "run.optimizer.kind",
    "schedule": "run.schedule.kind",
    "warmup_tokens": "warmup_tokens",
    "decay_tokens": "decay_tokens",
    "batch_tokens": "run.batch_tokens",
    "steps": "result.steps",
    **_of("run.optimizer", "learning_rate", "weight_decay"),
    "precision": "run.precision",
    "parametrization": "run.parametrization_kind",
    "seed": "run.seed",
    "seed_order": "run.order_seed",
    **_of("result", "loss", "loss_se_eval", "bits_per_byte", "eval_tokens", "train_loss"),
    **_of("execution", "tokens_per_second", "mfu", "wall_seconds", "input_wait_seconds"),
    **_of("execution", "peak_memory_bytes", "device"),
    "git_commit": "execution.git_commit",
    "budget": "planned.budget",
}
# the same of an external run; None: not known
EXTERNAL: dict[str, str | None] = {
    **{name: None if path.startswith("run.") else path for name, path in COLUMNS.items()},
    "depth": "run.size.known_depth",
    "width": "run.size.known_width",
    **_of("run", "context", "batch_tokens", "learning_rate", "seed"),
    "seed_order": "run.order_seed",
    **{name: name for name in ("optimizer", "schedule", "precision", "weight_decay")},
    "warmup_tokens": None,
    "decay_tokens": None,
}
RATE_OF = "learning_rate/"  # of a role: embedding, head, gain, matrix
CURVE_COLUMNS = (
    *("run_id", "step", "tokens", "flops", "wall_time", "train/loss", "train/grad_norm"),
    *("train/learning_rate", "eval/loss"),
)


def _named(recorded: _Collected) -> Row:
    """Return the columns that only some studies have: fields on axes, rates by role, experts, by evaluation
    set, by source, by average of weights, initial weights, the loss floor, and how a program was lowered."""
    run, result, named = recorded.planned.built_in, recorded.result, Row(recorded.planned.values)
    rates = run.optimizer.learning_rates
    named |= {f"{RATE_OF}{role}": rate for role, rate in (rates.given if rates else {}).items()}
    if experts := run.shape.experts:
        named |= {"experts": experts.count, "experts_active": experts.active}
        named |= {"experts_shared": experts.shared, "experts_granularity": experts.granularity}
    if run.init_from is not None:
        named["init_from"] = run.init_from
    named |= result.families
    named |= _unusual(recorded.execution.lowering or Lowering())
    return named if result.loss_floor is None else named | {"loss_floor": result.loss_floor}


def _unusual(lowering: Lowering) -> Row:
    """Return the columns of how a program was lowered, without what is as it is on one device."""
    columns = {
        "mesh": lowering.mesh and str(lowering.mesh),
        "attention_kernel": lowering.attention,
        **{name: getattr(lowering, name) for name in ("pack", "micro_batches", "remat")},
    }
    usual = {None, "blocked", 1, "none"}
    return {name: value for name, value in columns.items() if value not in usual}


class _Collected:
    """A run with its record and its flags, as :data:`COLUMNS` reads it."""

    def __init__(self, plan: Plan, planned: PlannedRun, record: Record, doubts: Sequence[str]):
        self.plan, self.planned, self.run, self.flops = plan, planned, planned.run, planned.run.flops()
        self.result, self.execution = record.result, record.execution
        self.flags = "|".join(doubts) or None
        if isinstance(self.run, ExternalRun):
            self._describe(self.run)
        else:
            self.warmup_tokens = self.run.schedule.warmup * self.run.batch_tokens
            self.decay_tokens = self.run.decay_steps * self.run.batch_tokens

    def _describe(self, run: ExternalRun) -> None:
        """Take what a recipe and a configuration say by names that are known."""
        decay = run.recipe.get("weight_decay")
        self.weight_decay = decay if isinstance(decay, int | float) else None
        self.optimizer, self.schedule = run.kind_of("optimizer"), run.kind_of("schedule")
        self.precision = run.kind_of("precision")


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
        parts = [f"{plural(self.rows, 'run')} ({self.diverged} diverged)"]
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
    results = ResultsFolder(Path(folder))
    plan = load_plan(results)
    recorded, curves, missing = list[Recorded](), list[Row](), list[Missing]()
    torn = repeated = 0
    for run, state in zip(plan.runs, status_rows(results, plan), strict=True):
        record = _record(results, run)
        if record is None or not plan.evaluates(record):
            where = "" if state.step is None else f", at step {state.step} of {state.steps}"
            cause = state.reason or f"{state.state}{where}"
            missing.append(Missing(run.run_id, run.label, run.role, state.state, cause))
            continue
        metrics = read_metrics(results.run_dir(run.run_id) / "metrics.jsonl")
        points, twice = _curve(run.run_id, metrics.rows)
        recorded.append(Recorded(run, record, points))
        curves += points
        torn, repeated = torn + metrics.skipped, repeated + twice
    doubts = flags(recorded)
    rows = [_table_row(plan, one.planned, one.record, doubts[one.planned.run_id]) for one in recorded]
    names = list(dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)]))
    rows = [{name: _cell(row, name) for name in names} for row in rows]
    write_text(results.table, _csv(names, rows))
    _write_parquet(results.curves, curves)
    empty = {name: count for name in names if (count := sum(row[name] is None for row in rows))}
    diverged = sum(row["status"] == "diverged" for row in rows)
    strays = tuple(sorted(results.recorded() - plan.by_id.keys()))
    return Collected(
        results.table, results.curves, len(rows), diverged, tuple(missing), strays, torn, repeated, empty
    )


def _cell(row: Row, name: str) -> Any:
    """Return a value of a row, None where it has none (a diverged run has no loss/SET); a role without a rate
    of its own has the learning rate."""
    return row.get(name, row["learning_rate"] if name.startswith(RATE_OF) else None)


def _record(results: ResultsFolder, run: PlannedRun) -> Record | None:
    try:
        return results.record(run.run_id)
    except UserError:  # its status says that it cannot be read
        return None


def _table_row(plan: Plan, planned: PlannedRun, record: Record, doubts: Sequence[str]) -> Row:
    """Make one row of the runs table: every column, None where unknown, and those of this study alone."""
    recorded = _Collected(plan, planned, record, doubts)
    if isinstance(planned.run, ExternalRun):
        row = {name: attrgetter(path)(recorded) if path else None for name, path in EXTERNAL.items()}
        reported = record.result.columns or {}
        return row | planned.values | {name: v for name, v in reported.items() if row.get(name) is None}
    return {name: attrgetter(path)(recorded) for name, path in COLUMNS.items()} | _named(recorded)


def _csv(names: Sequence[str], rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    # Whole numbers beyond 2^63 would be read back as text: they are written as floats.
    writer.writerows(
        [float(v) if isinstance(v, int) and abs(v) >= 2**63 else v for v in row.values()] for row in rows
    )
    return text.getvalue()


def _curve(run_id: str, metrics: Sequence[Row]) -> tuple[list[Row], int]:
    """Return one point per step (training and evaluation rows of a step together), by step; and repeated
    values."""
    points: dict[int, Row] = {}
    repeated = 0
    for row in metrics:
        point = points.setdefault(row["step"], {})
        repeated += any(key in point for key in row if "/" in key)
        point |= row | {"run_id": run_id}
    return [points[step] for step in sorted(points)], repeated


def _write_parquet(path: Path, points: Sequence[Row]) -> None:
    import pandas
    import pyarrow
    import pyarrow.parquet

    kinds = dict.fromkeys(CURVE_COLUMNS, "float64") | {"run_id": "str", "step": "Int64", "tokens": "Int64"}
    names = {name for point in points for name in point if "/" in name}
    kinds |= dict.fromkeys(sorted(names - kinds.keys()), "float64")  # of a set, an average or experts
    curves = pandas.DataFrame(points, columns=list(kinds)).astype(kinds)
    table = pyarrow.Table.from_pandas(curves, preserve_index=False).replace_schema_metadata()
    with aside(path) as other:
        pyarrow.parquet.write_table(table, other, compression="zstd")
