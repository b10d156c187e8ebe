"""``plan``: what a spec would train, and what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
        typer.Option(min=1, metavar="FLOPS", help="FLOP/s of a device, such as 4e14; not measured"),
    ] = None,
    max_device_hours: Annotated[
        float | None, typer.Option(min=0, metavar="HOURS", help="refuse a plan that takes more")
    ] = None,
) -> None:
    """Say what a spec would train, and its cost."""
    from scaling.cli.planning import Question, print_plan

    asked = Question(
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
    )
    print_plan(asked)
