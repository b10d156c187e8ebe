"""What ``scaling plan`` prints."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from scaling.cli.columns import columns
from scaling.cli.plan_columns import has_experts, runs_json, runs_table
from scaling.cli.words import count, duration, flops
from scaling.corpora.content import ExternalContent
from scaling.corpora.quotas import BLOCK
from scaling.counts.memory import size
from scaling.data.index import DataIndex, index_of
from scaling.data.request import find_overlap
from scaling.errors import plural
from scaling.plan.bill import Bill
from scaling.plan.cadence import evaluations
from scaling.plan.chosen import held_text
from scaling.plan.cost import Space
from scaling.plan.lowering import Lowered
from scaling.plan.plan import Plan, PlannedRun
from scaling.plan.repetition import times_text
from scaling.plan.warnings import plan_warnings
from scaling.spec.execution import SlurmExecution
from scaling.store.records import PlanData

NAMED = 4  # runs of one reason that a row names


def plan_text(plan: Plan, lowered: Lowered | None, bill: Bill, names: Sequence[str] | None = None) -> str:
    """Say every run, what is left out and why, what may spoil the study, and totals.

    Args:
        plan: the plan.
        lowered: memory, and how jobs are laid out for it; None: that is for the trainer.
        bill: what runs take.
        names: the columns of :data:`scaling.cli.plan_columns.COLUMNS` to print; the usual ones where None.
    """
    varied = [f"axis {text}" for text in plan.axes]
    about = [*_about(plan), *_recipe_lines(plan), *varied, *_variant_lines(plan, bill)]
    parts = ["\n".join(about), runs_table(plan, bill, names)]
    if plan.excluded:
        parts.append(columns(("left out", "why"), left_out_rows(plan), left=2))
    notes = [f"note: {note}" for note in (*plan.notes, *(lowered.notes() if lowered else ()))]
    if remarks := [*notes, *(f"warning: {warning.text}" for warning in plan_warnings(plan))]:
        parts.append("\n".join(remarks))
    parts.append(_totals(plan, lowered, bill))
    return "\n\n".join(parts)


def left_out_rows(plan: Plan) -> list[tuple[str, str]]:
    """The runs that are left out and why; those of one reason in one row."""
    labels = dict[str, list[str]]()
    for run in plan.excluded:
        labels.setdefault(run.reason, []).append(run.label)
    return [
        (", ".join(of[:NAMED]) + (f" and {len(of) - NAMED} more" if len(of) > NAMED else ""), reason)
        for reason, of in labels.items()
    ]


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


def _params_text(runs: Sequence[PlannedRun], *, ratio: bool = False) -> str:
    """Say how large models are, with the ``ratio`` of the largest to the smallest, and how much of them a
    token uses."""
    params = [run.params for run in runs]
    active = [run.params_active for run in runs if run.params_active is not None]
    times = f" ({max(params) / min(params):.0f}x)" if ratio else ""
    used = f", {count(min(active))} to {count(max(active))} active" if has_experts(runs) else ""
    return f"N {count(min(params))} to {count(max(params))}{times}{used}"


def _variant_lines(plan: Plan, bill: Bill) -> Iterator[str]:
    """Say of each variant how many runs are its own, and what they take."""
    for variant in dict.fromkeys(run.variant for run in plan.runs if run.variant is not None):
        runs = [run for run in plan.runs if run.variant == variant]
        roles = ", ".join(f"{number} {role}" for role, number in Counter(run.role for run in runs).items())
        yield (
            f"variant {variant}: {plural(len(runs), 'run')} ({roles}), {_params_text(runs)}, "
            f"{flops(sum(bill.runs[run.run_id].flops_spent for run in runs))} as planned"
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


def _totals(plan: Plan, lowered: Lowered | None, bill: Bill) -> str:
    totals = plan.totals
    roles = ", ".join(f"{number} {role}" for role, number in totals.by_role.items())
    fitted = [run for run in plan.runs if run.role == "fit"]
    alone = f"{flops(totals.flops)} if each were trained alone, {flops(totals.flops_spent)} as planned"
    steps, apart = sum(r.run.steps for r in plan.runs), ", as if each were trained alone"
    lines = [
        f"{plural(totals.runs, 'run')} ({roles}) in {plural(totals.jobs, 'job')}; "
        + _params_text(fitted, ratio=True),
        flops(totals.flops) if plan.command else f"{alone}: sharing trunks saves {totals.saved:.0%}",
        f"{count(totals.tokens)} tokens in {steps:,} steps{'' if plan.command else apart}",
        *([*_meshes(lowered), _memory(lowered)] if lowered else ()),
        *([_disk(plan, bill.space)] if bill.space else ()),
        *(["memory and disk: not known for a trainer of your own"] if plan.command else ()),
        "; ".join((_duration(plan, bill), *_device_hours(plan, bill))),
        *_left(plan, bill),
    ]
    if plan.every is not None:
        number = sum(evaluations(plan, job) for job in plan.jobs)
        share = f", {bill.time.evaluation_share:.0%} of the work" if bill.time else ""
        lines.append(f"evaluated along the way ({plan.every}): {plural(number, 'evaluation')}{share}")
    return "\n".join(lines)


def _duration(plan: Plan, bill: Bill) -> str:
    """Say how long it takes, and how that is known."""
    time, speed = bill.time, bill.speed
    if time is None or speed is None:
        if plan.command is not None:
            return (
                "time: not known: no run of this study has ended in results/, by whose speed it could be told"
            )
        where = "nodes of the cluster" if isinstance(plan.execution, SlurmExecution) else "this machine"
        return f"time: not estimated (no speed known for these shapes on {where})"
    after = f", of which {duration(time.holdout_wall_seconds)} after the forecast is frozen"
    about = (
        f"about {duration(time.wall_seconds)} with {plural(bill.workers, 'worker')}"
        f"{'' if plan.command else f' on {speed.probe.device}'}{after if time.holdout_wall_seconds else ''}"
    )
    if plan.command is not None:
        return f"{about}, {speed.source}"
    most = max(point.pack for point in speed.probe.points)
    beside = f", up to {most} runs of a shape side by side" if most > 1 else ""
    return (
        f"{about} ({speed.source}{beside}; training {duration(time.training_seconds)}, "
        f"compiling {duration(time.compile_seconds)}, evaluation {duration(time.evaluation_seconds)}, "
        f"starting {duration(time.start_seconds)} of work)"
    )


def _device_hours(plan: Plan, bill: Bill) -> Iterator[str]:
    """Say how long devices are at work, and what that costs; of a machine of one's own also how long they are
    held. Allocations of a cluster end when nothing waits."""
    if bill.device_hours is None or bill.device_hours_held is None:
        return
    text = f"{bill.device_hours:.3g} device-hours of work"
    if bill.workers > 1 and not isinstance(plan.execution, SlurmExecution):
        held = f"{bill.device_hours_held:.3g} if {plural(bill.workers, 'worker')} are held until the end"
        text += f" ({held})"
    if bill.price is not None and bill.amount is not None:
        currency = bill.price.currency
        text += f": {bill.amount:,.4g} {currency} at {bill.price.amount:g} {currency} an hour"
    yield text


def _left(plan: Plan, bill: Bill) -> Iterator[str]:
    """Say what is left where some of it is done."""
    if bill.done:
        hours = bill.device_hours_left
        takes = "" if hours is None else f": what is left takes about {hours:.3g} device-hours"
        yield f"{len(bill.done):,} of {plural(len(plan.runs), 'run')} are done{takes}"


def _disk(plan: Plan, space: Space) -> str:
    final = ", and the final one of every run" if plan.execution.keep_final else ""
    return (
        f"a checkpoint every {duration(plan.execution.checkpoint_seconds)} of each process; keeps the last 2 "
        f"per trunk and active run{final}: at most {size(space.checkpoint_bytes)} on disk, "
        f"{size(space.kept_bytes)} in the end"
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
    here = "an allocation" if isinstance(lowered.plan.execution, SlurmExecution) else "this machine"
    owner = here if devices.kind == "cpu" else "each"
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


def plan_json(plan: Plan, lowered: Lowered | None, bill: Bill) -> dict[str, Any]:
    """Return the plan with all that is said of it as plain values."""
    return {
        **plan.to_json(),
        "totals": vars(plan.totals),
        "time": None if bill.time is None else vars(bill.time),
        "speed": None if bill.speed is None else bill.speed.source,
        "space": None if bill.space is None else vars(bill.space),
        "memory": None if lowered is None else _memory_json(lowered),
        "bill": bill.to_json(),
        "table": runs_json(plan, bill),
        "warnings": [asdict(warning) for warning in plan_warnings(plan)],
    }
