"""``fit`` and ``import``, and what their options say, as the arguments of the analysis."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaling.cli import options as option
from scaling.cli import say
from scaling.errors import Complaint, UserError

if TYPE_CHECKING:
    from analysis.errors import Argument

Law = Annotated[
    str,
    typer.Option(
        help="a law that `scaling laws` lists, or file.py:NAME, a Law of yours: the file is run",
        metavar="LAW",
    ),
]
METHOD_HELP = (
    "of intervals: auto (cluster with 30 clusters or more, else wild-cluster; without replicates cr2); of "
    "what shares noise: cluster, wild-cluster, cr2, cr3; of single runs, assumed independent: case; or "
    "profile"
)
Method = Annotated[str, typer.Option(metavar="METHOD", help=METHOD_HELP)]


def import_(
    source: Annotated[Path, typer.Argument(help="any CSV, parquet or jsonl file with one row a run")],
    out: Annotated[Path, typer.Argument(help="the CSV to write, with our column names and plain units")],
    where: option.Where = None,
    after: option.After = None,
    run: option.Run = None,
    column: option.Columns = None,
    unit: option.Units = None,
    as_json: option.Json = False,
) -> None:
    """Make a runs table of a table found in the wild."""
    from analysis.tables.runs import import_table

    notes = import_table(source, out, **loading(where, after, run, column, unit))
    if as_json:
        return say.data({"table": str(out), "notes": list(notes)})
    print("\n".join([*notes, str(out)]))
    say.next_command("fit", out, *(("--after", "0", "--run", run) if run else ()))
    return None


def fit(
    context: typer.Context,
    table: option.Table,
    law: Law = "chinchilla",
    where: option.Where = None,
    after: option.After = None,
    run: option.Run = None,
    convention: option.Convention = "total",
    objective: option.Objective = "huber",
    delta: option.Delta = None,
    bootstrap: Annotated[int, typer.Option(min=0, help="replicates for intervals")] = 500,
    method: Method = "auto",
    level: option.Level = 0.9,
    fixed: option.Fixed = None,
    bounds: option.Bounds = None,
    target: option.Target = "loss",
    weights: option.Weights = None,
    groups: option.Groups = None,
    cluster: option.Cluster = None,
    column: option.Columns = None,
    unit: option.Units = None,
    as_json: option.Json = False,
) -> None:
    """Fit a law to a runs table."""
    from scaling.cli.tables import fit_table

    fitted = fit_table(
        table,
        law,
        loading(where, after, run, column, unit),
        convention=convention,
        objective=objective,
        delta=delta,
        bootstrap=bootstrap,
        method=method,
        level=level,
        fixed=fixed_values(fixed),
        bounds=bound_values(bounds),
        target=target,
        weights=weights,
        groups=groups,
        cluster=cluster,
    )
    if as_json:
        print(fitted.to_json())
        return None
    print(fitted.summary(dim=say.colours()))
    if not fitted.usable:
        return say.next_command("laws", table)
    more = option.typed(context, "law", "bootstrap", "method")
    say.next_command("plot", table, *(("--law", law, *more) if more or law != "chinchilla" else ()))
    return None


def pairs(texts: Sequence[str] | None, option: str, example: str) -> dict[str, str]:
    """``NAME=VALUE`` of a repeatable option.

    Raises:
        UserError: all that are of another form, or named twice.
    """
    values: dict[str, str] = {}
    problems = []
    for text in texts or ():
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            problems.append(
                Complaint(f"{option} {text}: must look like NAME=VALUE", hint=f"such as {example}")
            )
        elif name in values:
            problems.append(Complaint(f"{option} {name}: is given twice", hint="keep one"))
        values[name] = value
    if problems:
        raise UserError(*problems)
    return values


def fixed_values(texts: Sequence[str] | None) -> dict[str, float]:
    """``E=1.8`` -> ``{"E": 1.8}``."""
    texts_by_name, problems = pairs(texts, "--fixed", "--fixed E=1.8"), []
    values = {}
    for name, text in texts_by_name.items():
        number = _number(text)
        if number is None:
            problems.append(
                Complaint(f"--fixed {name}={text}: must be a number", hint="such as --fixed E=1.8")
            )
        else:
            values[name] = number
    if problems:
        raise UserError(*problems)
    return values


def bound_values(texts: Sequence[str] | None) -> dict[str, tuple[float, float]]:
    """``alpha=0.1:1`` -> ``{"alpha": (0.1, 1.0)}``."""
    texts_by_name, problems, values = pairs(texts, "--bounds", "--bounds alpha=0.1:1"), [], {}
    for name, text in texts_by_name.items():
        low, _, high = text.partition(":")
        ends = _number(low), _number(high)
        if ends[0] is None or ends[1] is None or not ends[0] < ends[1]:
            hint = "two numbers that rise, such as --bounds alpha=0.1:1"
            problems.append(Complaint(f"--bounds {name}={text}: must be LOW:HIGH", hint=hint))
        else:
            values[name] = ends
    if problems:
        raise UserError(*problems)
    return values


def loading(
    where: str | None,
    after: float | None,
    run: str | None,
    columns: Sequence[str] | None,
    units: Sequence[str] | None,
) -> dict[str, Any]:
    """Arguments of ``analysis.load``: which rows to take, which column is which (``flops=none`` leaves one
    unused), and units."""
    named = pairs(columns, "--column", "--column 'params=Model Size'")
    return {
        "where": where,
        "after": after,
        "run": run,
        "columns": {ours: None if theirs == "none" else theirs for ours, theirs in named.items()} or None,
        "units": pairs(units, "--unit", "--unit params=M") or None,
    }


def as_option(argument: Argument) -> str:
    """An argument of the analysis as the options of the command line that give it."""
    match argument.name, argument.value:
        case ("columns" | "units") as name, dict() as values:
            pairs = (f"{ours}={'none' if theirs is None else theirs}" for ours, theirs in values.items())
            return " ".join(f"--{name.removesuffix('s')} {shlex.quote(pair)}" for pair in pairs)
        case "bounds", dict() as values:
            return " ".join(f"--bounds {name}={low}:{high}" for name, (low, high) in values.items())
        case "fixed", dict() as values:
            return " ".join(f"--fixed {name}={value}" for name, value in values.items())
        case name, value:
            return f"--{name} {shlex.quote(str(value))}"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
