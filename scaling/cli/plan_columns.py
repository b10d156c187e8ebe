"""The columns of the table that ``scaling plan`` prints."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from scaling.cli.columns import columns
from scaling.cli.words import count, duration
from scaling.counts.memory import size
from scaling.errors import Complaint, UserError
from scaling.plan.bill import Bill, RunCost
from scaling.plan.plan import Plan, PlannedRun

Cell = Callable[[PlannedRun, RunCost], str]
UNKNOWN = "-"


def _known(value: float | None, text: Callable[[float], str]) -> str:
    return UNKNOWN if value is None else text(value)


def _ours(run: PlannedRun, text: Callable[[], str]) -> str:
    """Say of a run of the built-in trainer what only that has."""
    return UNKNOWN if run.is_external else text()


def _short(value: float) -> str:
    return f"{value:.3g}"


def _hours(value: float) -> str:
    return duration(3600 * value)


COLUMNS: dict[str, tuple[str, Cell]] = {  # name -> heading, text of a run
    "run": ("run", lambda run, _: run.label),
    "role": ("role", lambda run, _: run.role),
    "variant": ("variant", lambda run, _: run.variant or UNKNOWN),
    "params_body": ("N body", lambda run, _: _known(run.params_body, count)),
    "params": ("N", lambda run, _: count(run.params)),
    "params_active": ("N active", lambda run, _: _known(run.params_active, count)),
    "tokens": ("D", lambda run, _: count(run.run.tokens)),
    "tokens_per_param": ("D/N", lambda run, _: _short(run.run.tokens / run.params)),
    "epochs": ("epochs", lambda run, _: f"{run.epochs:.2f}"),
    "steps": ("steps", lambda run, _: f"{run.run.steps:,}"),
    "flops": ("FLOPs", lambda run, _: _short(run.flops)),
    "flops_spent": ("spent", lambda _, cost: _short(cost.flops_spent)),
    "hours": ("time", lambda _, cost: _known(cost.hours, _hours)),
    "price": ("price", lambda _, cost: _known(cost.price, _short)),
    "device_hours": ("device-hours", lambda _, cost: _known(cost.device_hours, _short)),
    "devices": ("devices", lambda _, cost: str(cost.devices)),
    "memory_bytes": ("memory", lambda _, cost: _known(cost.memory_bytes, lambda held: size(int(held)))),
    "disk_bytes": ("disk", lambda _, cost: _known(cost.disk_bytes, lambda held: size(int(held)))),
    "flops_saved": ("saved", lambda _, cost: _short(cost.flops_saved)),
    "flops_6n": ("6ND", lambda run, _: _short(6 * run.params * run.run.tokens)),
    "flops_6n_body": (
        "6ND body",
        lambda run, _: _known(run.params_body, lambda n: _short(6 * n * run.run.tokens)),
    ),
    "unique_tokens": ("unique tokens", lambda run, _: count(run.unique_tokens)),
    "warmup_steps": ("warmup", lambda run, _: _ours(run, lambda: f"{run.built_in.schedule.warmup:,}")),
    "decay_steps": ("decay", lambda run, _: _ours(run, lambda: f"{run.built_in.decay_steps:,}")),
    "learning_rate": ("learning rate", lambda run, _: _known(run.run.learning_rate, "{:.4g}".format)),
    "weight_decay": (
        "weight decay",
        lambda run, _: _ours(run, lambda: f"{run.built_in.optimizer.weight_decay:.4g}"),
    ),
    "batch_tokens": ("batch tokens", lambda run, _: f"{run.run.batch_tokens:,}"),
    "seed": ("seed", lambda run, _: str(run.run.seed)),
    "seed_order": ("order", lambda run, _: str(run.run.order_seed)),
    "run_id": ("run id", lambda run, _: run.run_id),
    "job_id": ("job id", lambda run, _: run.job_id),
}
LEFT = ("run", "role", "variant")  # aligned left
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
    rows = [[cell(run, bill.runs[run.run_id]) for _, cell in chosen] for run in plan.runs]
    left = sum(1 for _ in itertools.takewhile(lambda name: name in LEFT, names))
    return columns([heading for heading, _ in chosen], rows, left=left)


def _usual(plan: Plan, bill: Bill) -> tuple[str, ...]:
    """Return the first columns, without those that say nothing: labels begin with the variant, and N active
    is N without experts."""
    left_out = {
        "variant": True,
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
