"""``compare``: laws against one another, on runs that each was not fitted to."""

from __future__ import annotations

from typing import Annotated

import typer

from scaling.cli import fits, say
from scaling.cli.options import Columns, Json, Table, Units
from scaling.errors import Problem, UserError


def compare(
    table: Table,
    law: Annotated[
        list[str] | None,
        typer.Option(metavar="LAW", help="a law that `scaling laws` lists, or file.py:NAME; twice or more"),
    ] = None,
    where: fits.Where = None,
    after: fits.After = None,
    run: fits.Run = None,
    convention: Annotated[str, typer.Option(help="which N and C: total, body, 6nd, kaplan")] = "total",
    objective: Annotated[str, typer.Option(help="huber, log-ls, raw-ls or log1p-ls, as of `fit`")] = "huber",
    delta: Annotated[float | None, typer.Option(help="Huber's delta; left out: from the residuals")] = None,
    target: Annotated[str, typer.Option(help="the column to fit")] = "loss",
    cluster: Annotated[str | None, typer.Option(help="a column of what shares noise")] = None,
    folds: Annotated[int, typer.Option(help="groups of clusters that are left out in turn")] = 10,
    level: Annotated[float, typer.Option(help="of intervals")] = 0.9,
    column: Columns = None,
    unit: Units = None,
    as_json: Json = False,
) -> None:
    """Compare laws on runs that they were not fitted to."""
    from scaling.study import compare_table

    if not law or len(law) < 2:
        hint = "such as --law chinchilla --law tied; `scaling laws TABLE` lists those that a table can feed"
        raise UserError(Problem(f"--law: {len(law or ())} given, a comparison needs two or more", hint=hint))
    found = compare_table(
        table,
        law,
        {"where": where, "after": after, "run": run, **fits.reading(column, unit)},
        convention=convention,
        objective=objective,
        delta=delta,
        target=target,
        cluster=cluster,
        folds=folds,
        level=level,
    )
    if as_json:
        print(found.to_json())
        return
    print(found.summary())
    say.next_command("fit", table, "--law", law[list(found.fits).index(found.best)])
