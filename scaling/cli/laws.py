"""``laws``: what can be fitted, and with which tables."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scaling.cli import say
from scaling.cli.options import Json

if TYPE_CHECKING:
    from analysis.catalogue import Entry

HEADINGS = {
    "law": "LOSS OF A RUN  scaling fit TABLE --law NAME",
    "curve law": "LOSS ALONG A TRAINING CURVE  from Python",
    "size": "OPTIMAL SIZES  scaling fit TABLE --law NAME",
    "estimator": "OTHER ESTIMATES  from Python",
}


def laws(
    table: Annotated[
        Path | None, typer.Argument(help="a results folder or a table: adds what it lacks for each law")
    ] = None,
    long: Annotated[
        bool, typer.Option("--long", help="also columns, source, assumptions and the call from Python")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the laws, and what a table lacks for each."""
    from analysis.catalogue import catalogue, feeds
    from analysis.optimal_size.estimators import ESTIMATORS

    entries = catalogue()
    missing, notes = ({}, []) if table is None else feeds(table)
    if as_json:
        more = {} if table is None else {"table": str(table), "notes": notes}
        lack = {name: {"fed": not columns, "lacks": list(columns)} for name, columns in missing.items()}
        return say.data({"laws": [asdict(e) | lack.get(e.name, {}) for e in entries], **more})
    groups: dict[str, list[Entry]] = {kind: [] for kind in HEADINGS}
    for entry in entries:
        groups["size" if entry.name in ESTIMATORS else entry.kind].append(entry)
    width = shutil.get_terminal_size().columns
    for kind, group in groups.items():
        if group:
            lines = in_full(group, missing) if long else in_brief(group, missing, width)
            print(HEADINGS[kind], *lines, "", sep="\n")
    print(*(f"note: {text}" for text in notes), sep="\n", end="\n" if notes else "")
    if table is not None:  # where no law can be fitted, fit says which option names the missing columns
        names = [entry.name for entry in groups["law"]]
        say.next_command("fit", table, "--law", min(names, key=lambda name: len(missing[name])))
    elif not long:
        say.next_command("laws", "--long")
    return None


def in_brief(group: Sequence[Entry], missing: Mapping[str, Sequence[str]], width: int) -> list[str]:
    """A line for each law: name, formula cut to ``width``, and the columns that the table lacks."""
    longest = max(len(entry.name) for entry in group)
    lines = []
    for entry in group:
        columns = missing.get(entry.name, ())
        lacks = f"  lacks {', '.join(columns)}" if columns else ""
        room = max(20, width - longest - len(lacks) - 4)
        formula = entry.formula if len(entry.formula) <= room else entry.formula[: room - 3] + "..."
        lines.append(f"  {entry.name:{longest}}  {formula:{room if lacks else 0}}{lacks}")
    return lines


def in_full(group: Sequence[Entry], missing: Mapping[str, Sequence[str]]) -> list[str]:
    """All that is known of each law."""
    lines = []
    for entry in group:
        needs = f"needs {', '.join(entry.needs)}"
        if entry.name in missing:
            columns = missing[entry.name]
            needs += f": this table lacks {', '.join(columns)}" if columns else ": this table has them"
        call = "" if entry.kind == "law" else entry.call
        details = (needs, call, entry.source, entry.assumptions)
        lines += ["", f"  {entry.name}: {entry.formula}", *(f"    {text}" for text in details if text)]
    return lines
