"""``next``: the runs that help a forecast most for what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scaling.cli import options as option
from scaling.cli import say
from scaling.cli.options import grouped


@grouped
def next_(
    source: Annotated[Path, typer.Argument(metavar="RESULTS|TABLE", help=option.TABLE)],
    *,
    compute: Annotated[
        float | None, typer.Option(metavar="FLOPS", help="what the law is wanted for: compute, such as 1e20")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="INPUTS", help="or one run, such as params=7e9,tokens=1.4e11"),
    ] = None,
    spec: Annotated[Path | None, typer.Option(help="the study whose family is offered; of a table")] = None,
    budget: Annotated[
        float | None, typer.Option(metavar="FLOPS", help="for all runs; left out: a quarter of what is there")
    ] = None,
    runs: Annotated[int, typer.Option(help="at most so many, 1 to 100")] = 5,
    law: Annotated[
        list[str] | None,
        typer.Option(metavar="LAW", help=f"{option.LAW}; of several, also cells that decide between them"),
    ] = None,
    goal: Annotated[str, typer.Option(help="loss: at the target; size: N* at --compute")] = "loss",
    noise: Annotated[
        float | None, typer.Option(help="of log loss for each run, such as 0.005; left out: from residuals")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="write the spec of these runs to a new file; left out: RESULTS/next.yaml, anew each time"
        ),
    ] = None,
    reading: option.Reading,
    as_json: option.Json = False,
) -> None:
    """Say which runs to train next, and write them as a spec."""
    from scaling.cli.next_request import asked_next, write_spec

    found, folder = asked_next(
        source, compute=compute, at=at, spec=spec, budget=budget, runs=runs, laws=tuple(law or ()), goal=goal,
        noise=noise, out=out, reading=reading.arguments,
    )  # fmt: skip
    place = write_spec(found, folder, out) if found.help.runs else None
    if as_json:
        return say.data(found.to_json() | {"file": str(place) if place else None})
    print(found.text)
    if place:
        print(f"\n{place}")
        say.next_command("plan", place, *(("--results", folder) if folder else ()))
    elif found.help.runs:
        print("\n" + found.yaml().rstrip())
    return None
