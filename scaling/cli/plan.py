"""``plan``: what a spec would train, and what it takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scaling.cli.options import USUAL_LAW, Json, On, Options, Overrides, Spec, Workers, grouped

if TYPE_CHECKING:
    from scaling.design.wish import Asked


@dataclass(frozen=True)
class Taking(Options):
    """Say what a plan may take, and how that is known."""

    probe: Annotated[bool, typer.Option(help="measure this machine's speed where it is not known")] = True
    workers: Workers = None
    speed: Annotated[
        float | None,
        typer.Option(metavar="FLOPS", help="FLOP/s of a device, such as 4e14; not measured"),
    ] = None
    max_device_hours: Annotated[
        float | None,
        typer.Option(metavar="HOURS", help="refuse a plan of which more is left to train"),
    ] = None


@dataclass(frozen=True)
class Identifying(Options):
    """Say what the statement of what a design can identify rests on."""

    identify: Annotated[bool, typer.Option(help="say what the design can identify, and what would help")] = (
        True
    )
    law: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LAW",
            help=f"of which law; left out: what the design is for, usually {USUAL_LAW}; repeatable",
        ),
    ] = None
    prior: Annotated[
        str | None,
        typer.Option(
            metavar="PRIOR",
            help="what is assumed of the law: chinchilla, bytes, the JSON of a fit, or values such as "
            "alpha=0.3:0.4 or Bcrit=5e5; left out: the design's, or what was published of sizes nearest to "
            "these",
        ),
    ] = None
    noise: Annotated[
        float | None,
        typer.Option(help="of log loss between seeds, such as 0.005; left out: the design's, or the prior's"),
    ] = None
    compute: Annotated[
        float | None,
        typer.Option(metavar="FLOPS", help="what the law is wanted for; left out: the largest held-out run"),
    ] = None
    simulate: Annotated[
        int, typer.Option(metavar="STUDIES", help="simulate and fit so many studies of this design")
    ] = 0

    def asked(self) -> Asked:
        """What is asked about the design."""
        from scaling.design.wish import Asked

        return Asked(tuple(self.law or ()), self.prior, self.noise, self.compute, self.simulate)


@grouped
def plan(
    spec: Spec,
    overrides: Overrides = None,
    on: On = None,
    as_json: Json = False,
    resolved: Annotated[bool, typer.Option(help="print the spec with every default filled in")] = False,
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
        Path | None,
        typer.Option(
            metavar="FILE", help="draw the design: design.png, .pdf or .svg; in place of what is there"
        ),
    ] = None,
    *,
    taking: Taking,
    identifying: Identifying,
) -> None:
    """Say what a spec would train, and its cost; trains nothing, and leaves results as they are."""
    from scaling.cli.plan_request import PlanRequest, print_plan

    asked = PlanRequest(
        spec,
        overrides or [],
        on,
        taking.workers,
        results,
        as_json=as_json,
        resolved=resolved,
        diff=diff,
        probe=taking.probe,
        flops_per_second=taking.speed,
        max_device_hours=taking.max_device_hours,
        names=names,
        figure=figure,
        identify=identifying.identify,
        about=identifying.asked(),
    )
    print_plan(asked)
