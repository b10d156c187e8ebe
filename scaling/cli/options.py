"""Arguments and options that several commands share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

Table = Annotated[Path, typer.Argument(help="a results folder, or any CSV of runs: params, tokens, loss")]
Json = Annotated[bool, typer.Option("--json", help="print one JSON object instead of text")]
Columns = Annotated[
    list[str] | None,
    typer.Option(metavar="OURS=THEIRS", help="which column is which, such as 'params=Model Size'"),
]
Units = Annotated[
    list[str] | None,
    typer.Option(metavar="COLUMN=UNIT", help="what a column is given in, such as params=M, loss=bits"),
]
Where = Annotated[
    str | None,
    typer.Option(
        metavar="FILTER",
        help="rows to take, such as 'seed == 0 and loss < 3.2'; 'flops >= 1e18' drops the smallest C",
    ),
]
After = Annotated[
    float | None,
    typer.Option(
        metavar="FRACTION", help="drop checkpoints before this fraction of their run (warmup); needs --run"
    ),
]
Run = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="a table of checkpoints: the column that names their run")
]
# of a fit; each command has its own defaults
Convention = Annotated[str | None, typer.Option(help="which N and C: total, body, 6nd, kaplan")]
Objective = Annotated[
    str | None,
    typer.Option(
        help="huber, log-ls (least squares of log residuals), raw-ls (of L), log1p-ls (of log(1 + L))"
    ),
]
Delta = Annotated[float | None, typer.Option(help="Huber's delta; left out: from the residuals")]
Level = Annotated[float | None, typer.Option(help="of intervals")]
Fixed = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="hold a parameter; may be repeated")
]
Bounds = Annotated[
    list[str] | None, typer.Option(metavar="NAME=LOW:HIGH", help="narrow a domain; may be repeated")
]
Target = Annotated[str | None, typer.Option(help="the column to fit")]
Weights = Annotated[str | None, typer.Option(help="a column of weights; left out: none")]
Groups = Annotated[
    str | None, typer.Option(help="a column of data sets that share exponents, fitted together")
]
Cluster = Annotated[
    str | None, typer.Option(help="a column of what shares noise; left out: trunk, else seed and size")
]


def typed(context: typer.Context, *others: str) -> list[str]:
    """The options of a command that are not at their defaults, as they were typed, without ``others``."""
    defaults = {p.name: p.default for p in context.command.params if p.param_type_name == "option"}
    values = {name: value for name, value in context.params.items() if name in defaults}
    return spelt({k: v for k, v in values.items() if k not in others and v != defaults[k]})


def spelt(options: Mapping[str, Any]) -> list[str]:
    """Options as they were typed; those left out are None."""
    given = {key: value if isinstance(value, (list, tuple)) else [value] for key, value in options.items()}
    pairs = [
        (f"--{key}", str(value)) for key, values in given.items() for value in values if value is not None
    ]
    return [part for pair in pairs for part in pair]
