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
