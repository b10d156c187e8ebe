"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
