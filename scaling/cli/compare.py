"""``compare``: laws against one another on runs that each was not fitted to; or studies and variants, against
the first of them."""

from __future__ import annotations

from typing import Annotated

import typer

from scaling.cli import options as option
from scaling.cli import say
from scaling.cli.arguments import as_option
from scaling.cli.options import grouped
from scaling.errors import Complaint, UserError


@grouped
def compare(
    table: option.Tables,
    *,
    law: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAW",
            help="a law that `scaling laws` lists, or file.py:NAME; twice or more. Left out: studies are "
            "compared, one a table, or the variants of one",
        ),
    ] = None,
    at_loss: Annotated[
        list[float] | None,
        typer.Option(
            metavar="LOSS", help="of studies: the multiple of compute for this loss, too; repeatable"
        ),
    ] = None,
    reading: option.Reading,
    fitting: option.Fitting,
    folds: Annotated[int, typer.Option(help="groups of clusters that are left out in turn")] = 10,
    as_json: option.Json = False,
) -> None:
    """Compare laws on runs that they were not fitted to; or studies and variants: what is each worth?"""
    from scaling.cli.tables import compare_studies, compare_table

    if not law:
        found = compare_studies(table, reading.arguments(), losses=at_loss or (), **fitting.arguments())
        if as_json:
            print(found.to_json())
            return
        print(found.summary())
        several = len(table) > 1
        command = ["fit", *table, "--groups", "source"] if several else ["plot", *table]
        say.next_command(*command, *reading.typed(), *(fitting.typed() if several else ()))
        return
    if at_loss:
        raise UserError(Complaint("--at-loss: is of studies and variants", hint="leave it out, or --law"))
    if len(law) < 2:
        such = f"--law {option.USUAL_LAW} --law tied"
        hint = f"such as {such}; `scaling laws TABLE` lists those that a table can feed"
        raise UserError(Complaint("--law: 1 given, a comparison needs two or more", hint=hint))
    options = {"folds": folds, **fitting.arguments()}
    comparison = compare_table(table, law, reading.arguments(), **options)
    if as_json:
        print(comparison.to_json())
        return
    print(comparison.summary(spell=as_option))
    best = law[list(comparison.fits).index(comparison.best)]
    say.next_command("fit", *table, "--law", best, *reading.typed(), *fitting.typed())
