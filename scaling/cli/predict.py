"""``predict`` and ``optimal``: from a fit to losses and best sizes."""

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
    str | None,
    typer.Option(metavar="LAW", help=f"{option.LAW}; left out: {option.USUAL_LAW}, or that of the fit"),
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
    """Predict the loss of runs, with intervals."""
    from scaling.cli.points import AT, budgets
    from scaling.cli.predict_source import PredictionSource, allots, reach
    from scaling.cli.predict_text import prediction_json, prediction_text, predictions

    flops = budgets(compute)
    if not at and not flops:
        raise UserError(Complaint("nothing to predict", hint=f"give {AT} or --compute 1e22"))
    asked = PredictionSource(source or (), law, reading, fitting, intervals)
    predictor = asked.predictor()
    blocks = predictions(predictor, at, flops, fitting.level)
    if as_json:
        return say.data(prediction_json(predictor, blocks))
    print(prediction_text(predictor, blocks))
    if allots(predictor):
        compute = compute or [reach(predictor)]
        say.next_command("optimal", *asked.words(), *option.spelt({"compute": compute}))
    elif asked.fits_a_table:
        say.next_command(*asked.plot())
    return None


@grouped
def optimal(
    source: Sources = None,
    *,
    compute: Compute = None,
    law: Law = None,
    spec: Annotated[
        Path | None,
        typer.Option(help="a study: also the nearest members of its family, at what these cost, as a spec"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="write that spec to a file, instead of printing it")
    ] = None,
    reading: option.Reading,
    fitting: option.Fitting,
    intervals: option.Intervals,
    as_json: option.Json = False,
) -> None:
    """Say which N and D are best for a compute."""
    from scaling.cli.points import budgets
    from scaling.cli.predict_source import PredictionSource
    from scaling.cli.predict_text import optimal_block, prediction_json, prediction_text

    flops = budgets(compute)
    if not flops:
        raise UserError(Complaint("--compute: no compute to spend", hint="give --compute 1e22, or 1e20:1e23"))
    if out is not None and (spec is None or out.exists()):
        hint = "give --spec study.yaml too" if spec is None else "name another"
        what = "there is no spec to write" if spec is None else "exists already"
        raise UserError(Complaint(f"--out {out}: {what}", hint=hint))
    following = None
    if spec is not None:
        from scaling.cli.optimal_members import Following

        following = Following.of(spec)
    asked = PredictionSource(source or (), law, reading, fitting, intervals)
    predictor = asked.predictor()
    block = optimal_block(predictor, flops, fitting.level, following.cost(predictor) if following else None)
    members = following.members(predictor, block.frame) if following else None
    if members and out:
        members.write(out)
    if as_json:
        found = prediction_json(predictor, [block])
        return say.data(found | (members.to_json() if members else {}))
    print(prediction_text(predictor, [block], sizes=True))
    if members is not None:
        print("\n" + members.text(out))
        again = ["optimal", *asked.words(), *option.spelt({"compute": compute, "spec": spec})]
        say.next_command(*(["plan", out] if out else [*again, "--out", f"{members.study.study}.yaml"]))
    elif asked.fits_a_table:
        say.next_command(*asked.plot())
    return None
