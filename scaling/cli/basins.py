"""``basins``: the best learning rate and batch of each cell, and what laws of them give elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaling.cli import options as option
from scaling.cli import say
from scaling.cli.columns import columns
from scaling.cli.options import grouped
from scaling.cli.printing import Printing
from scaling.cli.words import count, typed
from scaling.files import write_text

if TYPE_CHECKING:
    import pandas as pd

    from analysis.figures import Rendering
    from analysis.hyperparameters.basins import Basins

LIST = "COLUMN,COLUMN"


@dataclass(frozen=True)
class Search(option.Options):
    """Say where basins are looked for."""

    lr: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="left out: learning_rate; none: not tuned")
    ] = None
    batch: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="left out: batch_tokens, where there is one; none: not tuned"),
    ] = None
    by: Annotated[str | None, typer.Option(metavar=LIST, help="what a cell is; left out: params,tokens")] = (
        None
    )
    lr_on: Annotated[
        str | None, typer.Option(metavar=LIST, help="inputs of the law of lr; left out: params,tokens")
    ] = None
    batch_on: Annotated[
        str | None, typer.Option(metavar=LIST, help="inputs of the law of the batch; left out: tokens")
    ] = None
    loss: Annotated[str | None, typer.Option(metavar="COLUMN", help="left out: loss")] = None
    method: Annotated[
        str | None,
        typer.Option(help="quadratic (default), local (tricube weights) or argmin (the best run)"),
    ] = None
    window: Annotated[
        float | None,
        typer.Option(help="relative loss above the best up to which runs are used; left out: 0.01"),
    ] = None
    cluster: Annotated[str | None, typer.Option(help="a column of cells that share noise")] = None
    bootstrap: Annotated[int | None, typer.Option(min=0, help="replicates for intervals; left out: 500")] = (
        None
    )
    level: Annotated[float | None, typer.Option(help="of intervals; left out: 0.9")] = None

    def arguments(self) -> dict[str, Any]:
        """The options given, as arguments of :func:`analysis.basins.find`."""
        given = super().arguments()
        for name in {"by", "lr_on", "batch_on"} & {*given}:
            given[name] = tuple(part.strip() for part in given[name].split(","))
        return given | {name: None for name in ("lr", "batch") if given.get(name) == "none"}


@grouped
def basins(
    table: option.Tables,
    *,
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="INPUTS", help="give the optimum there, such as params=7e9,tokens=1.4e11"),
    ] = None,
    search: Search,
    edges: Annotated[
        bool,
        typer.Option("--edges", help="let optima at the end of a sweep, which are bounds, into laws"),
    ] = False,
    reading: option.Reading,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="write the laws for rules of a spec: {kind: tuned, file: FILE}"),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="draw the basins, and the laws of their optima")
    ] = None,
    printing: Printing,
    as_json: option.Json = False,
) -> None:
    """Find the best learning rates and batches."""
    from analysis.codec import plain
    from analysis.hyperparameters.optima import SHORT
    from scaling.cli.points import inputs
    from scaling.cli.tables import sweep_of

    rendering = printing.of_figures("--plot", plot)
    found = sweep_of(table, search.arguments() | {"edges": edges}, reading.arguments())
    known = dict.fromkeys(x for law in found.laws.values() for x in law.law.inputs)
    points = inputs(at, {SHORT.get(x, x): x for x in known}, " and ".join(f"{x}*" for x in found.laws))
    optima = [found.predict(level=search.level, **point) for point in points]
    if out is not None:
        _write(out, found)
    if plot is not None:
        _draw(plot, found, rendering)
    if as_json:
        rows = [row for frame in optima for row in frame.to_dict("records")]
        return say.data({**found.to_dict(), **({"at": plain(rows)} if at else {})})
    print("\n".join([found.summary(), "", cells_text(found)]))
    for frame in optima:
        print(f"\n{optima_text(found, frame)}")
    words = [*table, *search.typed(), *(["--edges"] if edges else []), *reading.typed()]
    if not at and found.status.code == "ok":
        far = ",".join(f"{x}={typed(10 * float(found.cells[x].to_numpy().max()))}" for x in known)
        say.next_command("basins", *words, "--at", far)
    return None


def _write(out: Path, found: Basins) -> None:
    """Write the basins to a file; a folder that is not there is made.

    Raises:
        UserError: it cannot be written.
    """
    try:
        write_text(out, found.to_json() + "\n")
    except OSError as error:
        raise say.unwritable(
            f"--out {out}", error, "name a file in a folder that can be written to"
        ) from None
    weak = [name for name, law in found.laws.items() if law.status.code != "ok"]
    if weak:
        say.note(
            f"written: {out}; no recipe takes its law of {' and '.join(weak)}, not identified: sweep at "
            "more sizes and lengths, or fit fewer inputs, such as --lr-on params"
        )
    if len(weak) < len(found.laws):
        say.note(f"laws written; in a recipe: {{kind: tuned, file: {out}}}")


def _draw(folder: Path, found: Basins, rendering: Rendering | None) -> None:
    """Write the figures to a folder, which is made where it is not there.

    Raises:
        UserError: they cannot be written.
    """
    from analysis.figures import draw_basins

    try:
        drawn = draw_basins(found, folder, rendering=rendering)
    except OSError as error:
        raise say.unwritable(f"--plot {folder}", error, "name a folder that can be written to") from None
    for path in drawn.paths:
        say.note(f"drawn: {path}")


def cells_text(found: Basins) -> str:
    """A row for each cell: what it is, the optimum, by what factor that may be off, and what was swept."""
    shown = {x: [_short(value) for value in found.cells[x]] for x in found.by}
    shown |= {"runs": [str(n) for n in found.cells["runs"]], "verdict": list(found.cells["verdict"])}
    for name in found.columns:
        part = {end: found.cells[f"{name}{end}"] for end in ("_from", "_to", "_factor")}
        shown[f"{name}*"] = [_short(value) for value in found.cells[name]]
        shown[f"{name} off by"] = [f"{x:.2f}x" if x == x else "-" for x in part["_factor"]]
        ends = zip(part["_from"], part["_to"], strict=True)
        shown[f"{name} swept"] = [f"{_short(low)} to {_short(high)}" for low, high in ends]
    shown["loss"] = [f"{value:.4f}" if value == value else "-" for value in found.cells["loss"]]
    rows = list(zip(*shown.values(), strict=True))
    lines = columns([*shown], rows, left=0).splitlines()
    lines.append(f"off by: the factor that costs {found.tolerance:.2%} of the loss, the other retuned")
    return "\n".join(f"  {line}" for line in lines)


def optima_text(found: Basins, frame: pd.DataFrame) -> str:
    """The optimum at other sizes, with intervals of the law and of a new cell."""
    (row,) = frame.to_dict("records")
    inputs = [x for x in row if x in found.by]
    lines = ["  at " + ", ".join(f"{x} = {_short(row[x])}" for x in inputs)]
    for name, law in found.laws.items():
        ends = [f"[{_short(row[f'{name}{x}low'])}, {_short(row[f'{name}{x}high'])}]" for x in ("_", "_new_")]
        far = row[f"{name}_extrapolation"]
        beyond = f"; {far:.3g}x beyond the cells" if far > 1 else ""
        lines.append(
            f"    {name}* = {_short(row[name])}  {law.level:.0%} {ends[0]}, of one cell {ends[1]}{beyond}"
        )
    return "\n".join(lines)


def _short(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "-" if value != value else f"{value:.3g}" if value < 1000 else count(value)
