"""``coordcheck``: whether sizes of activations depend on width or depth."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaling.cli import options as option
from scaling.cli import say
from scaling.cli.options import grouped
from scaling.cli.printing import Printing
from scaling.cli.words import duration
from scaling.errors import Complaint, UserError, plural

if TYPE_CHECKING:
    import pandas as pd

    from analysis.coordinates import Coordinates
    from analysis.figures import Rendering
    from scaling.plan.coordcheck import Cell
    from scaling.spec.execution import Execution

HEARTBEAT_SECONDS = 15.0
STEPS, LEVEL = 10, 0.9
Sizes = typer.Option(metavar="LIST", help="sizes instead of the family's, such as 32,64,128")


@grouped
def coordcheck(
    spec: option.Spec,
    *,
    overrides: option.Overrides = None,
    widths: Annotated[str | None, Sizes] = None,
    depths: Annotated[str | None, Sizes] = None,
    steps: Annotated[int, typer.Option(min=1, max=10_000, help="steps to train")] = STEPS,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="seeds of each model")] = 3,
    level: Annotated[float, typer.Option(min=0.5, max=0.999, help="of intervals")] = LEVEL,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="draw coordcheck.png into this folder")
    ] = None,
    printing: Printing,
    as_json: option.Json = False,
) -> None:
    """Check that activations keep their size over widths or depths.

    Each variant is trained for a few steps at each size, its learning rate constant at the peak: a warmup
    would hide what it checks. Exit code 1: sizes grow or shrink under a parametrization that is not the
    standard one, or a run of it diverged.
    """
    from analysis.coordinates import check
    from scaling.plan.coordcheck import CoordcheckFailed, cells_of, families_to_check
    from scaling.plan.kept import load_spec

    rendering = printing.of_figures("--out", out)
    study = load_spec(spec, overrides or [])
    families = families_to_check(study.family, _sizes(widths, "--widths"), _sizes(depths, "--depths"))
    cells = cells_of(study, families, seeds, steps)
    try:
        table: Any = _measured(cells, study.execution)
    except CoordcheckFailed as error:
        say.note(str(error))
        raise typer.Exit(1) from None
    found = [check(table[table["over"] == over], over=over, level=level) for over in families]
    drawn = _drawn(found, out, rendering)
    if as_json:
        say.data({"checks": [one.to_dict() for one in found], "figures": list(map(str, drawn))})
    else:
        print("\n\n".join(one.summary() for one in found))
        for path in drawn:
            say.note(f"drawn: {path}")
    parametrized = {cell.variant for cell in cells if cell.is_parametrized}
    codes = {(name, status.code) for one in found for name, status in one.statuses.items()}
    failed = {name for name, code in codes if code in ("not_flat", "diverged")} & parametrized
    if not as_json:
        given = {
            "--widths": widths,
            "--depths": depths,
            "--steps": None if steps == STEPS else steps,
            "--level": None if level == LEVEL else level,
            "--out": out,
        }
        again = [part for name, value in given.items() if value is not None for part in (name, value)]
        again += printing.typed()
        if {"unclear"} & {code for _, code in codes}:
            say.next_command("coordcheck", spec, *say.set_again(overrides), *again, "--seeds", 2 * seeds + 1)
        elif not failed:
            say.next_command("run", spec, *say.set_again(overrides))
    if failed:
        raise typer.Exit(1)


def _sizes(text: str | None, name: str) -> tuple[int, ...] | None:
    """Read whole numbers between commas.

    Raises:
        UserError: they are other ones, or one stands there twice.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    wrong = [part for part in parts if not part.isdecimal() or int(part) < 1]
    problems = [Complaint(f"{part!r} is no size", name, f"such as {name} 32,64,128") for part in wrong]
    if len({*parts}) < len(parts):
        problems.append(Complaint("names a size twice", name, "name each once"))
    if problems:
        raise UserError(*problems)
    return tuple(sorted(map(int, parts)))


def _measured(cells: list[Cell], execution: Execution) -> pd.DataFrame:
    """Measure all cells by one process with all cores, saying how far it is.

    Raises:
        UserError: the device cannot multiply in the precision of a cell.
    """
    import pandas as pd

    from scaling.plan.coordcheck import measure
    from scaling.plan.device import require_precision
    from scaling.spec.execution import Execution
    from scaling.sweep.machine import environment_here, layout, usable_cores

    threads = max(execution.threads, len(usable_cores()))
    where = layout(Execution(device=execution.device, workers=1, threads=threads))
    require_precision({cell.label: cell.run for cell in cells}, where.device)
    environment = environment_here(where)
    say.note(f"training {plural(len(cells), 'model')} for {plural(cells[0].run.steps, 'step')} each ...")
    rows = list[dict[str, Any]]()
    began = last = time.monotonic()
    for number, (cell, of_cell) in enumerate(zip(cells, measure(cells, environment), strict=True), 1):
        rows += [{"over": cell.over, **row} for row in of_cell]
        now = time.monotonic()
        if now - last > HEARTBEAT_SECONDS and number < len(cells):
            left = duration((now - began) * (len(cells) - number) / number)
            say.note(f"{number} of {plural(len(cells), 'model')}, about {left} left")
            last = now
    return pd.DataFrame(rows)


def _drawn(found: list[Coordinates], folder: Path | None, rendering: Rendering | None) -> tuple[Path, ...]:
    """Write the figures, where a folder is given.

    Raises:
        UserError: they cannot be written.
    """
    if folder is None:
        return ()
    from analysis.figures import draw_coordinates

    try:
        return draw_coordinates(found, folder, rendering=rendering).paths
    except OSError as error:
        raise say.unwritable(f"--out {folder}", error, "name a folder that can be written to") from None
