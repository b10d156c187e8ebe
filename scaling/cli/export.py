"""``scaling export``: what a run has learned, in a file of its own; curves and results, to a tracker."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaling.cli import say
from scaling.cli.export_tracker import Destination, send
from scaling.cli.options import Json, Results, grouped
from scaling.errors import Complaint, UserError

if TYPE_CHECKING:
    from scaling.plan.plan import Plan, PlannedRun


@grouped
def export(
    results: Results,
    run: Annotated[
        str | None, typer.Argument(help="with --weights, a run: its label, its id, or how its id begins")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="write its final weights here, as safetensors")
    ] = None,
    average: Annotated[
        str | None, typer.Option(metavar="NAME", help="an average of the weights instead, such as merge20")
    ] = None,
    *,
    to: Annotated[
        str | None,
        typer.Option(metavar="TRACKER", help="send all runs to wandb, tensorboard or trackio: what it lacks"),
    ] = None,
    destination: Destination,
    again: Annotated[
        bool, typer.Option("--again", help="send results again, and curves that the tracker lost")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the weights of a run to a file, or send runs to a tracker."""
    if to is not None and (run or weights or average):
        problem = "--to sends all runs of the study: it goes with no run, --weights or --average"
        raise UserError(Complaint(problem, hint="leave them out"))
    if to is not None:
        return send(results, to, destination, again=again, as_json=as_json)
    if again or destination.typed():
        given = "--again" if again else destination.typed()[0]
        raise UserError(Complaint(f"{given} is about a tracker", hint="name it: --to wandb"))
    if run is None or weights is None:
        hint = "give a run and --weights FILE, or --to wandb, tensorboard or trackio"
        raise UserError(Complaint("nothing to export is named", hint=hint))
    return _weights(results, run, weights, average, as_json)


def _weights(results: Path, run: str, weights: Path, average: str | None, as_json: bool) -> None:
    """Write the final weights of a run to a file.

    Args:
        results: the folder of its study.
        run: which one.
        weights: the file.
        average: of the weights, by its name.
        as_json: what is printed of it.
    """
    from scaling.plan.plan import load_plan
    from scaling.store.folder import ResultsFolder
    from scaling.store.weights import identity, save

    folder = ResultsFolder(results)
    plan = load_plan(folder)
    planned = plan.named(run)
    if plan.command is not None:
        hint = "its checkpoints are the trainer's own: export them by its own tools"
        raise UserError(Complaint(f"{planned.label} was trained by a command", str(results), hint))
    record, place = folder.record(planned.run_id), folder.final_checkpoint(planned.run_id, planned.run.steps)
    if record is not None and record.result.status == "diverged":
        raise UserError(Complaint(f"{planned.label} has diverged: it has no final weights", str(results)))
    if record is None or place is None:
        problem = "has no record yet" if record is None else "kept no final checkpoint"
        hint = "train it with execution.keep_final: true, which keeps the final checkpoint of every run"
        raise UserError(Complaint(f"{planned.label} {problem}", str(results), hint))
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # nothing is computed
    from scaling.train.saved import weights_of

    arrays = _average(plan, planned, place, average) if average else weights_of(place, planned.built_in.shape)
    save(weights, arrays, planned.built_in, **({"average": average} if average else {}))
    hashed = identity(arrays)
    if as_json:
        return say.data({"file": str(weights), "run_id": planned.run_id, "identity": hashed})
    print(f"{weights}: {sum(a.size for a in arrays.values()):,} parameters of {planned.label}, {hashed[:19]}")
    return None


def _average(plan: Plan, planned: PlannedRun, place: Path, name: str) -> dict[str, Any]:
    """Return an average of a run's final weights by its name, as in the column ``loss@NAME``."""
    import numpy as np

    from scaling.plan.cadence import averages_of
    from scaling.store.records import JobRun
    from scaling.train.saved import averages_in

    member = JobRun(
        run_id=planned.run_id,
        label=planned.label,
        run=planned.built_in,
        flops_spent=0,
        averages=averages_of(plan, planned.run),
    )
    kept = averages_in(place, member)
    if name not in kept:
        has = (
            f"it has {', '.join(kept)}" if kept else "it has none: they are asked for in evaluation.averages"
        )
        raise UserError(Complaint(f"{planned.label} has no average {name!r}", "--average", has))
    return {array: np.asarray(values) for array, values in kept[name].items()}
