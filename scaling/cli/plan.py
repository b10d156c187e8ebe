"""``plan``: what a spec would train, and what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from scaling.cli.arguments import require_positive
from scaling.cli.options import Json, On, Overrides, Spec, Workers


def plan(
    spec: Spec,
    overrides: Overrides = None,
    on: On = None,
    as_json: Json = False,
    resolved: Annotated[bool, typer.Option(help="print the spec with every default filled in")] = False,
    probe: Annotated[bool, typer.Option(help="measure this machine's speed where it is not known")] = True,
    workers: Workers = None,
    names: Annotated[
        str | None,
        typer.Option("--columns", metavar="NAMES", help="columns to print: names with commas, or all"),
    ] = None,
    diff: Annotated[
        bool, typer.Option("--diff", help="say what is new, done and changed beside the results instead")
    ] = False,
    results: Annotated[
        Path | None, typer.Option(help="the folder of what is done; left out: results/<study>")
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(metavar="FILE", help="draw the design: design.png, .pdf or .svg")
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(min=1, max=1e25, metavar="FLOPS", help="FLOP/s of a device, such as 4e14; not measured"),
    ] = None,
    max_device_hours: Annotated[
        float | None,
        typer.Option(min=0, metavar="HOURS", help="refuse a plan of which more is left to train"),
    ] = None,
    identify: Annotated[
        bool, typer.Option(help="say what the design can identify, and what would help")
    ] = True,
    law: Annotated[
        list[str] | None, typer.Option(metavar="LAW", help="of which law; left out: chinchilla; repeatable")
    ] = None,
    prior: Annotated[
        str | None,
        typer.Option(
            metavar="PRIOR",
            help="what is assumed of the law: chinchilla, bytes, the JSON of a fit, or values such as "
            "alpha=0.3:0.4; left out: what was published of sizes nearest to these",
        ),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(help="of log loss between seeds, such as 0.005; left out: the prior's"),
    ] = None,
    compute: Annotated[
        float | None,
        typer.Option(metavar="FLOPS", help="what the law is wanted for; left out: the largest held-out run"),
    ] = None,
    simulate: Annotated[
        int, typer.Option(min=0, metavar="STUDIES", help="simulate and fit so many studies of this design")
    ] = 0,
) -> None:
    """Say what a spec would train, and its cost."""
    from scaling.cli.plan_request import PlanRequest, print_plan
    from scaling.design.wish import Asked

    require_positive({"--compute": (compute, "1e20"), "--noise": (noise, "0.005")})
    asked = PlanRequest(
        spec,
        overrides or [],
        on,
        workers,
        results,
        as_json=as_json,
        resolved=resolved,
        diff=diff,
        probe=probe,
        flops_per_second=speed,
        max_device_hours=max_device_hours,
        names=names,
        figure=figure,
        identify=Asked(tuple(law or ()), prior, noise, compute, simulate) if identify else None,
    )
    print_plan(asked)
