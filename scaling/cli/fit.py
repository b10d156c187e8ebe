"""``fit``."""

from __future__ import annotations

from typing import Annotated

import typer

from scaling.cli import options as option
from scaling.cli import say
from scaling.cli.arguments import as_option
from scaling.cli.options import grouped
from scaling.errors import Complaint, UserError


@grouped
def fit(
    table: option.Tables,
    *,
    law: Annotated[str, typer.Option(help=option.LAW, metavar="LAW")] = option.USUAL_LAW,
    reading: option.Reading,
    fitting: option.Fitting,
    intervals: option.Intervals,
    latex: Annotated[
        bool, typer.Option("--latex", help="print a table of parameters, intervals and verdicts, for a paper")
    ] = False,
    as_json: option.Json = False,
) -> None:
    """Fit a law to a runs table."""
    from scaling.cli.predict_source import PredictionSource, allots, reach
    from scaling.cli.tables import fit_table

    if latex and as_json:
        raise UserError(Complaint("--latex and --json: two ways to print", hint="keep one"))
    asked = PredictionSource(table, law, reading, fitting, intervals)
    options = fitting.arguments() | intervals.arguments()
    fitted = fit_table(table, law, reading.arguments(), **options)
    if as_json:
        print(fitted.to_json())
        return None
    if latex:
        print(fitted.to_latex())
        return None
    print(fitted.summary(dim=say.colours(), spell=as_option))
    if not fitted.usable:
        say.next_command("laws", *table)
    elif allots(fitted):
        say.next_command("optimal", *asked.words(), "--compute", reach(fitted))
    else:
        say.next_command(*asked.plot())
    return None
