"""What ``scaling plan`` prints."""

from __future__ import annotations

import itertools
import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from scaling.cli.columns import columns
from scaling.cli.words import count, duration, flops, plural
from scaling.corpora.content import ExternalContent
from scaling.corpora.quotas import BLOCK
from scaling.counts.memory import size
from scaling.data.index import DataIndex, index_of
from scaling.data.request import find_overlap
from scaling.errors import Complaint, UserError
from scaling.plan.cadence import evaluations
from scaling.plan.cost import Space, Time
from scaling.plan.lowering import Lowered, held_text
from scaling.plan.plan import Plan, PlannedRun
from scaling.plan.probe import Probe
from scaling.plan.repetition import times_text
from scaling.store.records import PlanData

Cell = Callable[[PlannedRun, int], str]  # of a run and the FLOPs spent on it
COLUMNS: dict[str, tuple[str, Cell]] = {  # name -> heading, text of a run
    "run": ("run", lambda run, _: run.label),
    "role": ("role", lambda run, _: run.role),
    "variant": ("variant", lambda run, _: run.variant or "-"),
    "params_body": ("N body", lambda run, _: _known(run.params_body, count)),
    "params": ("N", lambda run, _: count(run.params)),
    "params_active": ("N active", lambda run, _: _known(run.params_active, count)),
    "tokens": ("D", lambda run, _: count(run.run.tokens)),
    "tokens_per_param": ("D/N", lambda run, _: f"{run.run.tokens / run.params:.3g}"),
    "epochs": ("epochs", lambda run, _: f"{run.epochs:.2f}"),
    "steps": ("steps", lambda run, _: f"{run.run.steps:,}"),
    "flops": ("FLOPs", lambda run, _: f"{run.flops:.3g}"),
    "flops_spent": ("spent", lambda run, spent: f"{spent:.3g}"),
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


def _known(value: float | None, text: Callable[[float], str]) -> str:
    return "-" if value is None else text(value)


def _ours(run: PlannedRun, text: Callable[[], str]) -> str:
    """Say of a run of the built-in trainer what only that has."""
    return "-" if run.is_external else text()


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


def _default_columns(plan: Plan) -> tuple[str, ...]:
    """Return the columns up to FLOPs; labels begin with the variant, and N active is N without experts."""
    left_out = {"variant"} if _has_experts(plan.runs) else {"variant", "params_active"}
    if all(run.params_body is None for run in plan.runs):
        left_out |= {"params_body"}
    names = tuple(COLUMNS)
    return tuple(name for name in names[: names.index("flops_spent") + 1] if name not in left_out)


def plan_text(
    plan: Plan,
    time: Time | None,
    probe: Probe | None,
    space: Space | None,
    lowered: Lowered | None,
    workers: int,
    names: Sequence[str] | None = None,
) -> str:
    """Say every run, what is left out and why, and totals.

    Args:
        plan: the plan.
        time: what it takes, where that is known.
        probe: the measured speed it was estimated by.
        space: disk, where that is known.
        lowered: memory, and how jobs are laid out for it; None: that is for the trainer.
        workers: jobs at a time.
        names: the columns of :data:`COLUMNS` to print; the usual ones where None.
    """
    names = names or _default_columns(plan)
    spent = {run_id: work for job in plan.jobs for run_id, work in job.flops_spent.items()}
    chosen = [COLUMNS[name] for name in names]
    rows = [[cell(run, spent[run.run_id]) for _, cell in chosen] for run in plan.runs]
    left = sum(1 for _ in itertools.takewhile(lambda name: name in LEFT, names))
    varied = [f"axis {text}" for text in plan.axes]
    about = [*_about(plan), *_recipe_lines(plan), *varied, *_variant_lines(plan, spent)]
    parts = ["\n".join(about)]
    parts.append(columns([heading for heading, _ in chosen], rows, left=left))
    if plan.excluded:
        left_out = columns(("left out", "why"), [(e.label, e.reason) for e in plan.excluded], left=2)
        parts.append(left_out)
    if notes := [*plan.notes, *(lowered.notes() if lowered else ())]:
        parts.append("\n".join(f"note: {note}" for note in notes))
    parts.append(_totals(plan, time, probe, space, lowered, workers))
    return "\n\n".join(parts)


def _about(plan: Plan) -> Iterator[str]:
    """Say what is trained on, and what is evaluated, of all data of a plan; the same line once."""
    lines = list[str]()
    for data in (plan.data, *plan.other_data):
        runs = [run for run in plan.runs if plan.data_of(run) is data]
        cut = [] if isinstance(data.content, ExternalContent) else [data.tokenizer]
        lines.append(f"study {plan.study}: {', '.join([data.corpus, *cut])}, context {data.context}")
        lines += _data_lines(data, runs)
    yield from dict.fromkeys(lines)


def _recipe_lines(plan: Plan) -> Iterator[str]:
    """Say which parametrizations and precisions runs have, where one is not the usual one."""
    ours = [run.built_in for run in plan.runs if not run.is_external]
    of_runs = {
        "parametrization": ("standard", [str(run.parametrization or "standard") for run in ours]),
        "precision": ("float32", [run.precision for run in ours]),
    }
    if plan.command is not None:
        yield f"trainer {shlex.join(plan.command.argv)}, in {plan.command.directory}"
    for name, (usual, texts) in of_runs.items():
        for text, runs in Counter(texts).items() if {*texts} - {usual} else ():
            yield f"{name} {text}: {plural(runs, 'run')}"


def _has_experts(runs: Sequence[PlannedRun]) -> bool:
    return any(not run.is_external and run.built_in.shape.experts for run in runs)


def _params_text(runs: Sequence[PlannedRun], *, ratio: bool = False) -> str:
    """Say how large models are, with the ``ratio`` of the largest to the smallest, and how much of them a
    token uses."""
    params = [run.params for run in runs]
    active = [run.params_active for run in runs if run.params_active is not None]
    times = f" ({max(params) / min(params):.0f}x)" if ratio else ""
    used = f", {count(min(active))} to {count(max(active))} active" if _has_experts(runs) else ""
    return f"N {count(min(params))} to {count(max(params))}{times}{used}"


def _variant_lines(plan: Plan, spent: Mapping[str, int]) -> Iterator[str]:
    """Say of each variant how many runs are its own, and what they take: FLOPs ``spent`` by run."""
    for variant in dict.fromkeys(run.variant for run in plan.runs if run.variant is not None):
        runs = [run for run in plan.runs if run.variant == variant]
        roles = ", ".join(f"{number} {role}" for role, number in Counter(run.role for run in runs).items())
        yield (
            f"variant {variant}: {plural(len(runs), 'run')} ({roles}), {_params_text(runs)}, "
            f"{flops(sum(spent[run.run_id] for run in runs))} as planned"
        )


def _data_lines(data: PlanData, runs: Sequence[PlannedRun]) -> Iterator[str]:
    """Say of each source what is trained on, and what is evaluated."""
    content = data.content
    if content is None:
        return
    index = index_of(content, data.context)
    if isinstance(content, ExternalContent):
        epochs = max(run.epochs for run in runs)
        seen = f"; the longest run goes through them {times_text(epochs)} times" if epochs > 1 else ""
        yield f"{count(content.tokens)} tokens{seen}"
        return
    for source in index.sources:
        facts = source.facts
        if facts is None:
            yield f"generated; no model has a loss below {index.floor:.4f} nats per token, the true entropy"
            continue
        share = "" if source.quota == BLOCK else f"{source.name}, {source.quota / BLOCK:.1%} of D: "
        kept = f", {count(facts.separators)} separators of documents counted" if facts.separators else ""
        used = "" if source.used == source.windows else f", {count(source.used * index.context)} of them used"
        documents, tokens = count(facts.train_documents), count(facts.train_tokens)
        most = max(run.run.tokens for run in runs) * source.quota / BLOCK
        epochs = most / (source.used * index.context)
        seen = f"; the longest run goes through them {times_text(epochs)} times" if epochs > 1 else ""
        yield f"{share}{documents} documents, {tokens} tokens{kept}{used}{seen}"
    if index.sources[0].facts is not None:
        sets = dict.fromkeys(document.set for document in index.eval_documents)
        for name in sets:
            of_set = [document for document in index.eval_documents if document.set == name]
            tokens = sum(document.tokens_used for document in of_set)
            target = "" if of_set[0].target else "; not part of loss"
            shared = _shared(index, of_set[0].store, len(of_set))
            documents = plural(len(of_set), "document")
            yield f"evaluated: {name}, {count(tokens)} tokens of {documents}{shared}{target}"


def _shared(index: DataIndex, store: str | None, documents: int) -> str:
    """Say how much of an evaluation text occurs in the training text too, where that was measured."""
    assert store is not None, "generated sources have no evaluation text"
    evaluated, shares = index.stores[store], list[float]()
    for source in index.sources:
        training = source.facts
        if training is None:
            continue
        overlap = find_overlap(evaluated, training, documents)
        if overlap is not None:
            shares.append(overlap.share)
    return f", {max(shares):.2%} of its 13-grams also in training text" if shares else ""


def _totals(
    plan: Plan,
    time: Time | None,
    probe: Probe | None,
    space: Space | None,
    lowered: Lowered | None,
    workers: int,
) -> str:
    totals = plan.totals
    roles = ", ".join(f"{number} {role}" for role, number in totals.by_role.items())
    fitted = [run for run in plan.runs if run.role == "fit"]
    alone = f"{flops(totals.flops)} if each were trained alone, {flops(totals.flops_spent)} as planned"
    steps, apart = sum(r.run.steps for r in plan.runs), ", as if each were trained alone"
    lines = [
        f"{plural(totals.runs, 'run')} ({roles}) in {plural(totals.jobs, 'job')}; "
        + _params_text(fitted, ratio=True),
        flops(totals.flops) if plan.command else f"{alone}: sharing trunks saves {totals.saved:.0%}",
        f"{count(totals.tokens)} tokens ({times_text(sum(r.epochs for r in plan.runs))} epochs) in "
        f"{steps:,} steps{'' if plan.command else apart}",
        *([*_meshes(lowered), _memory(lowered)] if lowered else ()),
        *([_disk(plan, space)] if space else ()),
    ]
    if plan.command is not None:
        lines += _external_time(time, workers)
    elif time is None or probe is None:
        lines.append("time: not estimated (no speed measured for these shapes on this machine)")
    else:
        after = f", of which {duration(time.holdout_wall_seconds)} after the forecast is frozen"
        lines.append(
            f"about {duration(time.wall_seconds)} with {plural(workers, 'worker')} on {probe.device}"
            f"{after if time.holdout_wall_seconds else ''} (speed measured at "
            f"{plural(len(probe.points), 'shape')}; training {duration(time.training_seconds)}, "
            f"compiling {duration(time.compile_seconds)}, evaluation {duration(time.evaluation_seconds)}, "
            f"starting {duration(time.start_seconds)} of work)"
        )
    if plan.every is not None:
        number = sum(evaluations(plan, job) for job in plan.jobs)
        share = f", {time.evaluation_share:.0%} of the work" if time else ""
        lines.append(f"evaluated along the way ({plan.every}): {plural(number, 'evaluation')}{share}")
    return "\n".join(lines)


def _disk(plan: Plan, space: Space) -> str:
    final = ", and the final one of every run" if plan.execution.keep_final else ""
    return (
        f"a checkpoint every {duration(plan.execution.checkpoint_seconds)} of each process; keeps the last 2 "
        f"per trunk and active run{final}: at most {size(space.checkpoint_bytes)} on disk, "
        f"{size(space.kept_bytes)} in the end"
    )


def _external_time(time: Time | None, workers: int) -> Iterator[str]:
    """Say what is known of a trainer of one's own: how long it took before."""
    yield "memory and disk: not known of a trainer of one's own"
    if time is None:
        yield "time: not known: no run of this study has ended in results/, by whose speed it could be told"
        return
    after = f", of which {duration(time.holdout_wall_seconds)} after the forecast is frozen"
    yield (
        f"about {duration(time.wall_seconds)} with {plural(workers, 'worker')}"
        f"{after if time.holdout_wall_seconds else ''}, at the speed of the runs that have ended"
    )


def _meshes(lowered: Lowered) -> Iterator[str]:
    """Say which meshes jobs have, where they have several devices, and why."""
    asked = lowered.plan.execution.mesh is not None
    for mesh, jobs in Counter(one.lowering.mesh for one in lowered.chosen.values()).items():
        if mesh is not None and mesh.devices > 1:
            shared = "weights are shared too, by memory" if mesh.fsdp > 1 else "a batch is shared"
            yield f"mesh {mesh}: {plural(jobs, 'job')}, {'as asked' if asked else shared}"


def _memory(lowered: Lowered) -> str:
    """Say what the largest job holds on a device, and what there is."""
    largest, devices = lowered.largest, lowered.devices
    each = f" on each of {devices.count} devices" if devices.count > 1 else ""
    owner = "this machine" if devices.kind == "cpu" else "each"
    there_is = f"; {owner} has {size(devices.memory_bytes)}" if devices.memory_bytes else ""
    parts = ", ".join(f"{name} {size(held)}" for name, held in [*largest.memory.parts().items()][:3])
    held = held_text(largest.memory, largest.compiled)
    return f"memory of the largest job{each} {held} ({parts} ...){there_is}"


def _memory_json(lowered: Lowered) -> dict[str, Any]:
    return {
        "devices": vars(lowered.devices),
        "jobs": {
            name: {
                "bytes": one.memory.total,
                "compiled_bytes": one.compiled,
                "limit_bytes": one.limit,
                "parts": one.memory.parts(),
                "lowering": asdict(one.lowering),
            }
            for name, one in lowered.chosen.items()
        },
    }


def plan_json(plan: Plan, time: Time | None, space: Space | None, lowered: Lowered | None) -> dict[str, Any]:
    totals = plan.totals
    return {
        **plan.to_json(),
        "totals": vars(totals),
        "time": None if time is None else vars(time),
        "space": None if space is None else vars(space),
        "memory": None if lowered is None else _memory_json(lowered),
    }
