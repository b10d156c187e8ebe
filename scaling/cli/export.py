"""``scaling export``: what a run has learned, in a file of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from scaling.cli import say
from scaling.cli.options import Json, Results
from scaling.errors import Complaint, UserError


def export(
    results: Results,
    run: Annotated[str, typer.Argument(help="a run: its label, its id, or how its id begins")],
    weights: Annotated[
        Path, typer.Option(metavar="FILE", help="write its final weights here, as safetensors")
    ],
    as_json: Json = False,
) -> None:
    """Write the final weights of a run to a file."""
    from scaling.plan.plan import load_plan
    from scaling.store.folder import ResultsFolder
    from scaling.store.weights import identity, save

    folder = ResultsFolder(results)
    planned = load_plan(folder).named(run)
    record, place = folder.record(planned.run_id), folder.final_checkpoint(planned.run_id, planned.run.steps)
    if record is not None and record.result.status == "diverged":
        raise UserError(Complaint(f"{planned.label} has diverged: it has no final weights", str(results)))
    if record is None or place is None:
        problem = "has no record yet" if record is None else "kept no final checkpoint"
        hint = "train it with execution.keep_final: true, which keeps the final checkpoint of every run"
        raise UserError(Complaint(f"{planned.label} {problem}", str(results), hint))
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # nothing is computed
    from scaling.train.checkpoint import weights_of

    arrays = weights_of(place, planned.run.shape)
    save(weights, arrays, planned.run)
    hashed = identity(arrays)
    if as_json:
        return say.data({"file": str(weights), "run_id": planned.run_id, "identity": hashed})
    print(f"{weights}: {sum(a.size for a in arrays.values()):,} parameters of {planned.label}, {hashed[:19]}")
    return None
