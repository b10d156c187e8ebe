"""``laws``: what can be fitted, and to which tables."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from scaling.cli import say
from scaling.cli.options import Json

HEADINGS = {
    "law": "LAWS  scaling fit TABLE --law NAME",
    "curve law": "LAWS OF TRAINING CURVES  from Python",
    "size": "ESTIMATORS OF OPTIMAL SIZES  scaling fit TABLE --law NAME",
    "estimator": "OTHER ESTIMATORS  from Python",
}


def laws(
    table: Annotated[
        Path | None, typer.Argument(help="a results folder or a table: which of them can it feed?")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the laws, and which of them a table can feed."""
    from analysis.laws.lookup import catalogue, feeds
    from analysis.optimal_size.estimators import ESTIMATORS

    entries = catalogue()
    lacks, notes = ({}, []) if table is None else feeds(table)
    if as_json:
        more = {} if table is None else {"table": str(table), "notes": notes}
        lack = {name: {"fed": not missing, "lacks": list(missing)} for name, missing in lacks.items()}
        return say.data({"laws": [asdict(e) | lack.get(e.name, {}) for e in entries], **more})
    for kind, heading in HEADINGS.items():
        here = [entry for entry in entries if ("size" if entry.name in ESTIMATORS else entry.kind) == kind]
        if not here:
            continue
        print(f"{heading}\n")
        for entry in here:
            print(f"  {entry.name}: {entry.formula}")
            needs = f"needs {', '.join(entry.needs)}"
            if entry.name in lacks:
                missing = lacks[entry.name]
                needs += f": this table lacks {', '.join(missing)}" if missing else ": this table has them"
            print(f"    {needs}")
            if kind != "law":
                print(f"    {entry.call}")
            print(*(f"    {text}" for text in (entry.source, entry.assumptions) if text), sep="\n")
        print()
    print(*(f"note: {text}" for text in notes), sep="\n", end="\n" if notes else "")
    if table is not None:  # where none is fed, fit says which option names the missing columns
        names = [entry.name for entry in entries if entry.kind == "law"]
        say.next_command("fit", table, "--law", min(names, key=lambda name: len(lacks[name])))
    return None
