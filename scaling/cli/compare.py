"""``compare``: laws against one another, on runs that each was not fitted to."""

from __future__ import annotations

from typing import Annotated

import typer

from scaling.cli import fits, say
from scaling.cli import options as option
from scaling.errors import Complaint, UserError


def compare(
    context: typer.Context,
    table: option.Table,
    law: Annotated[
        list[str] | None,
        typer.Option(metavar="LAW", help="a law that `scaling laws` lists, or file.py:NAME; twice or more"),
    ] = None,
    where: option.Where = None,
    after: option.After = None,
    run: option.Run = None,
    convention: option.Convention = "total",
    objective: option.Objective = "huber",
    delta: option.Delta = None,
    target: option.Target = "loss",
    cluster: option.Cluster = None,
    folds: Annotated[int, typer.Option(help="groups of clusters that are left out in turn")] = 10,
    level: option.Level = 0.9,
    column: option.Columns = None,
    unit: option.Units = None,
    as_json: option.Json = False,
) -> None:
    """Compare laws on runs that they were not fitted to."""
    from scaling.cli.tables import compare_table

    if not law or len(law) < 2:
        hint = "such as --law chinchilla --law tied; `scaling laws TABLE` lists those that a table can feed"
        raise UserError(
            Complaint(f"--law: {len(law or ())} given, a comparison needs two or more", hint=hint)
        )
    comparison = compare_table(
        table,
        law,
        fits.loading(where, after, run, column, unit),
        convention=convention,
        objective=objective,
        delta=delta,
        target=target,
        cluster=cluster,
        folds=folds,
        level=level,
    )
    if as_json:
        print(comparison.to_json())
        return
    print(comparison.summary())
    best = law[list(comparison.fits).index(comparison.best)]
    say.next_command("fit", table, "--law", best, *option.typed(context, "law", "folds"))
