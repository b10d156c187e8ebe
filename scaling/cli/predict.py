"""``predict`` and ``optimal``: from a fit to the next run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scaling.cli import options as option
from scaling.cli import say
from scaling.cli.options import grouped
from scaling.errors import Complaint, UserError

Sources = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="TABLE|FIT",
        help="a table to fit, or what `scaling fit TABLE --json > fit.json` wrote; none with all parameters "
        "in --fixed",
    ),
]
Law = Annotated[
    str | None, typer.Option(metavar="LAW", help=f"{option.LAW}; left out: chinchilla, or that of the fit")
]
Compute = Annotated[
    list[str] | None,
    typer.Option(metavar="FLOPS", help="1e22, or 1e20:1e23 for one a decade; may be repeated"),
]


@grouped
def predict(
    source: Sources = None,
    *,
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="INPUTS", help="such as params=7e9,tokens=1.4e11; may be repeated"),
    ] = None,
    compute: Compute = None,
    law: Law = None,
    reading: option.Reading,
    fitting: option.Fitting,
    intervals: option.Intervals,
    as_json: option.Json = False,
) -> None:
    """Predict the loss of runs, at sizes or at the best size for a compute."""
    from scaling.cli.predictions import hint_of, prediction_json, prediction_text, predictions
    from scaling.cli.predictors import AT, Asked, budgets

    flops = budgets(compute)
    if not at and not flops:
        raise UserError(Complaint("nothing to predict", hint=f"give {AT} or --compute 1e22"))
    asked = Asked(source or (), law, reading, fitting, intervals)
    predictor = asked.predictor()
    blocks = predictions(predictor, at, flops, fitting.level)
    if as_json:
        return say.data(prediction_json(predictor, blocks))
    print(prediction_text(predictor, blocks))
    say.next_command(*hint_of(predictor, asked, compute))
    return None
