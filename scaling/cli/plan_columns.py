"""The columns of the table that ``scaling plan`` prints."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from scaling.cli.columns import columns
from scaling.cli.words import count, duration
from scaling.counts.memory import size
from scaling.errors import Complaint, UserError
from scaling.plan.bill import Bill, RunCost
from scaling.plan.plan import Plan, PlannedRun

UNKNOWN = "-"


@dataclass(frozen=True)
class Column:
    """A column: its heading, the value of a run (None: not known), and how that is written."""

    heading: str
    value: Callable[[PlannedRun, RunCost], Any]
    written: Callable[[Any], str] = str

    def text(self, run: PlannedRun, cost: RunCost) -> str:
        """Return the cell of a run."""
        value = self.value(run, cost)
        return UNKNOWN if value is None else self.written(value)


def _ours(value: Callable[[PlannedRun], Any]) -> Callable[[PlannedRun, RunCost], Any]:
    """Make a value that only runs of the built-in trainer have."""
    return lambda run, _: None if run.is_external else value(run)


def _short(value: float) -> str:
    return f"{value:.3g}"


def _whole(value: int) -> str:
    return f"{value:,}"


def _hours(value: float) -> str:
    return duration(3600 * value)


def _six(params: int | None, run: PlannedRun) -> int | None:
    return None if params is None else 6 * params * run.run.tokens


COLUMNS: dict[str, Column] = {
    "run": Column("run", lambda run, _: run.label),
    "role": Column("role", lambda run, _: run.role),
    "variant": Column("variant", lambda run, _: run.variant),
    "starts_from": Column("starts from", lambda run, _: run.starts_from),
    "params_body": Column("N body", lambda run, _: run.params_body, count),
    "params": Column("N", lambda run, _: run.params, count),
    "params_active": Column("N active", lambda run, _: run.params_active, count),
    "tokens": Column("D", lambda run, _: run.run.tokens, count),
    "tokens_per_param": Column("D/N", lambda run, _: run.run.tokens / run.params, _short),
    "epochs": Column("epochs", lambda run, _: run.epochs, "{:.2f}".format),
    "steps": Column("steps", lambda run, _: run.run.steps, _whole),
    "flops": Column("FLOPs", lambda run, _: run.flops, _short),
    "flops_spent": Column("spent", lambda _, cost: cost.flops_spent, _short),
    "hours": Column("time", lambda _, cost: cost.hours, _hours),
    "price": Column("price", lambda _, cost: cost.price, _short),
    "device_hours": Column("device-hours", lambda _, cost: cost.device_hours, _short),
    "devices": Column("devices", lambda _, cost: cost.devices),
    "memory_bytes": Column("memory", lambda _, cost: cost.memory_bytes, size),
    "disk_bytes": Column("disk", lambda _, cost: cost.disk_bytes, size),
    "flops_saved": Column("saved", lambda _, cost: cost.flops_saved, _short),
    "flops_6n": Column("6ND", lambda run, _: _six(run.params, run), _short),
    "flops_6n_body": Column("6ND body", lambda run, _: _six(run.params_body, run), _short),
    "unique_tokens": Column("unique tokens", lambda run, _: run.unique_tokens, count),
    "warmup_steps": Column("warmup", _ours(lambda run: run.built_in.schedule.warmup), _whole),
    "decay_steps": Column("decay", _ours(lambda run: run.built_in.decay_steps), _whole),
    "learning_rate": Column("learning rate", lambda run, _: run.run.learning_rate, "{:.4g}".format),
    "weight_decay": Column(
        "weight decay", _ours(lambda run: run.built_in.optimizer.weight_decay), "{:.4g}".format
    ),
    "batch_tokens": Column("batch tokens", lambda run, _: run.run.batch_tokens, _whole),
    "seed": Column("seed", lambda run, _: run.run.seed),
    "seed_order": Column("order", lambda run, _: run.run.order_seed),
    "run_id": Column("run id", lambda run, _: run.run_id),
    "job_id": Column("job id", lambda run, _: run.job_id),
}
LEFT = ("run", "role", "variant", "starts_from")  # aligned left
LAST = "price"  # of the columns that are printed unless others are named


def chosen_columns(text: str | None) -> tuple[str, ...] | None:
    """Parse the names of ``--columns``; ``all`` is every column.

    Raises:
        UserError: there is no column of a name.
    """
    if text is None:
        return None
    names = tuple(COLUMNS) if text.strip() == "all" else tuple(name.strip() for name in text.split(","))
    unknown = [name for name in names if name not in COLUMNS]
    if unknown:
        hint = f"choose from {', '.join(COLUMNS)}, or all"
        raise UserError(*(Complaint(f"no column is named {name!r}", "--columns", hint) for name in unknown))
    return names


def runs_table(plan: Plan, bill: Bill, names: Sequence[str] | None) -> str:
    """Print a row for each run.

    Args:
        plan: the plan.
        bill: what its runs take.
        names: of the columns; the usual ones where None.
    """
    names = names or _usual(plan, bill)
    chosen = [COLUMNS[name] for name in names]
    rows = [[column.text(run, bill.runs[run.run_id]) for column in chosen] for run in plan.runs]
    left = sum(1 for _ in itertools.takewhile(lambda name: name in LEFT, names))
    return columns([column.heading for column in chosen], rows, left=left)


def runs_json(plan: Plan, bill: Bill) -> list[dict[str, Any]]:
    """Return every column of each run as plain values."""
    return [
        {name: column.value(run, bill.runs[run.run_id]) for name, column in COLUMNS.items()}
        for run in plan.runs
    ]


def _usual(plan: Plan, bill: Bill) -> tuple[str, ...]:
    """Return the first columns, without those that say nothing: labels begin with the variant, and N active
    is N without experts."""
    left_out = {
        "variant": True,
        "starts_from": all(run.starts_from is None for run in plan.runs),
        "params_active": not has_experts(plan.runs),
        "params_body": all(run.params_body is None for run in plan.runs),
        "hours": bill.time is None,
        "price": bill.amount is None,
    }
    names = tuple(COLUMNS)
    return tuple(name for name in names[: names.index(LAST) + 1] if not left_out.get(name))


def has_experts(runs: Sequence[PlannedRun]) -> bool:
    """Tell whether some run has a model with experts."""
    return any(not run.is_external and run.built_in.shape.experts for run in runs)
