"""Arguments and options that several commands share: declared once, taken by the group."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from scaling.cli import arguments

Texts = list[str] | None
Results = Annotated[Path, typer.Argument(help="the results folder of a study, such as results/quickstart")]
Spec = Annotated[Path, typer.Argument(help="an experiment spec, such as experiments/quickstart.yaml")]
Overrides = Annotated[
    Texts, typer.Option("--set", metavar="FIELD=VALUE", help="change a field of the spec; may be repeated")
]
On = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="a profile, such as cluster.yaml: fields for those of `execution`"),
]
Workers = Annotated[
    int | None, typer.Option(help="jobs at a time, 1 or more, instead of the spec's execution.workers")
]
TABLE = "a results folder, or any CSV of runs: params, tokens, loss"
Table = Annotated[Path, typer.Argument(help=TABLE)]
Tables = Annotated[
    list[Path],
    typer.Argument(metavar="TABLE", help=f"{TABLE}; several are one table with a column `source`"),
]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object instead of text")]
USUAL_LAW = "chinchilla"  # that of the analysis, which is not loaded for a list of options
LAW = "a law that `scaling laws` lists, or file.py:NAME, a Law of yours: the file is run"
METHOD = (
    "of intervals: auto (cluster with 30 clusters or more, else wild-cluster; without replicates cr2); of "
    "what shares noise: cluster, wild-cluster, cr2, cr3; of single runs, assumed independent: case; or "
    "profile"
)


@dataclass(frozen=True)
class Options:
    """A group of options, each None where it was not typed."""

    def typed(self) -> list[str]:
        """The options as they were typed."""
        return spelt(asdict(self))

    def arguments(self) -> dict[str, Any]:
        """The options given, as arguments of the analysis."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Reading(Options):
    """Say how a table is read."""

    where: Annotated[
        str | None,
        typer.Option(
            metavar="FILTER",
            help="rows to take, such as 'seed == 0 and loss < 3.2'; 'flops >= 1e18' drops the smallest C",
        ),
    ] = None
    after: Annotated[
        float | None,
        typer.Option(
            metavar="FRACTION",
            help="drop checkpoints before this fraction of their run (warmup); needs --run",
        ),
    ] = None
    run: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="a table of checkpoints: the column that names their run"),
    ] = None
    cells: Annotated[
        str | None,
        typer.Option(
            help="best (default): the end of each run, of several learning rates or batches at one size and "
            "token count the best; all: every row"
        ),
    ] = None
    flags: Annotated[
        Texts,
        typer.Option(
            metavar="FLAG=use|drop",
            help="whether runs with a flag are fitted, such as undercooled=use; may be repeated",
        ),
    ] = None
    column: Annotated[
        Texts,
        typer.Option(
            metavar="OURS=THEIRS",
            help="which column is which, 'params=Model Size', or a quantity: 'tokens=steps * batch_tokens'",
        ),
    ] = None
    unit: Annotated[
        Texts,
        typer.Option(metavar="COLUMN=UNIT", help="what a column is given in, such as params=M, loss=bits"),
    ] = None
    decimal: Annotated[
        str | None, typer.Option(metavar="SIGN", help="before decimals in text: a comma, not a point")
    ] = None
    thousands: Annotated[
        str | None,
        typer.Option(metavar="SIGN", help="between thousands in text: comma, point, space, ' or _"),
    ] = None
    melt: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN=HEADING",
            help="make columns rows: loss=loss@{tokens} takes loss@1e9, loss@2e9 as loss, and what stands "
            "for {tokens} as tokens",
        ),
    ] = None

    def arguments(self) -> dict[str, Any]:
        """The options given, as arguments of :func:`analysis.load`; ``flops=none`` leaves a column unused."""
        named = arguments.pairs(self.column, "--column", "--column 'params=Model Size'")
        given = {
            **{name: v for name, v in asdict(self).items() if name not in ("column", "unit", "flags")},
            "flags": arguments.pairs(self.flags, "--flags", "--flags undercooled=use") or None,
            "columns": {ours: None if theirs == "none" else theirs for ours, theirs in named.items()} or None,
            "units": arguments.pairs(self.unit, "--unit", "--unit params=M") or None,
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Fitting(Options):
    """Say how a law is fitted."""

    convention: Annotated[
        str | None, typer.Option(help="which N and C: total (default), body, active, 6nd, kaplan")
    ] = None
    objective: Annotated[
        str | None,
        typer.Option(
            help="huber (default), log-ls (least squares of log residuals), raw-ls (of L), log1p-ls (of "
            "log(1 + L))"
        ),
    ] = None
    delta: Annotated[float | None, typer.Option(help="Huber's delta; left out: from the residuals")] = None
    level: Annotated[float | None, typer.Option(help="of intervals; left out: 0.9")] = None
    fixed: Annotated[
        Texts, typer.Option(metavar="NAME=VALUE", help="hold parameters, such as E=1.8 or E=1.8,alpha=0.34")
    ] = None
    bounds: Annotated[
        Texts, typer.Option(metavar="NAME=LOW:HIGH", help="narrow a domain; may be repeated")
    ] = None
    target: Annotated[str | None, typer.Option(help="the column to fit; left out: loss")] = None
    weights: Annotated[str | None, typer.Option(help="a column of weights; left out: none")] = None
    groups: Annotated[
        str | None, typer.Option(help="a column of data sets that share exponents, fitted together")
    ] = None
    cluster: Annotated[
        str | None, typer.Option(help="a column of what shares noise; left out: trunk, else seed and size")
    ] = None

    def arguments(self) -> dict[str, Any]:
        """The options given, as arguments of :func:`analysis.fit`."""
        given = super().arguments()
        parsed = {"fixed": arguments.fixed_values, "bounds": arguments.bound_values}
        return {name: parsed[name](value) if name in parsed else value for name, value in given.items()}


@dataclass(frozen=True)
class Intervals(Options):
    """Say how intervals are made."""

    bootstrap: Annotated[int | None, typer.Option(min=0, help="replicates for intervals; left out: 500")] = (
        None
    )
    method: Annotated[str | None, typer.Option(metavar="METHOD", help=METHOD)] = None


def grouped(command: Callable[..., Any]) -> Callable[..., Any]:
    """A command for typer, whose parameters that are groups are spelled as the options they hold."""
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, Any] = {name: kind for name, kind in hints.items() if is_dataclass(kind)}
    spelled: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        if name not in groups:
            spelled.append(parameter.replace(annotation=hints[name], kind=parameter.KEYWORD_ONLY))
            continue
        own = get_type_hints(groups[name], include_extras=True)
        spelled += [
            inspect.Parameter(f.name, parameter.KEYWORD_ONLY, default=f.default, annotation=own[f.name])
            for f in fields(groups[name])
        ]

    def run(**given: Any) -> Any:
        for name, group in groups.items():
            given[name] = group(**{f.name: given.pop(f.name) for f in fields(group)})
        return command(**given)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in spelled}
    run.__signature__ = inspect.Signature(spelled)  # type: ignore[attr-defined]
    return run


def spelt(options: Mapping[str, Any]) -> list[str]:
    """Options as they were typed; those left out are None."""
    given = {key: value if isinstance(value, (list, tuple)) else [value] for key, value in options.items()}
    return [
        part
        for key, values in given.items()
        for value in values
        if value is not None
        for part in (f"--{key.replace('_', '-')}", str(value))
    ]
