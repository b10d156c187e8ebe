"""``scaling clean``: what takes the disk, and removing what nothing needs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scaling.cli import say
from scaling.cli.columns import columns
from scaling.cli.options import Json, Results
from scaling.counts.memory import size

if TYPE_CHECKING:
    from scaling.sweep.clean import Item


def clean(
    results: Results,
    yes: Annotated[bool, typer.Option("--yes", help="remove it without asking")] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="final checkpoints, logs and what earlier plans left, too")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what takes the disk; remove what is not needed, never a record."""
    from scaling.store.folder import ResultsFolder
    from scaling.sweep.clean import clean as remove
    from scaling.sweep.clean import goes, survey

    folder = ResultsFolder(results)
    items = survey(folder)
    going = sum(item.bytes for item in items if goes(item.kind, everything))
    if not as_json:
        print(_table(items, everything))
    asked = going and not yes and not as_json and sys.stdin.isatty()
    if asked:
        yes = typer.confirm(f"\nremove {size(going)}?")
    cleaned = remove(folder, everything) if yes and going else None
    if as_json:
        return say.data(_json(items, everything) | {"removed": cleaned and vars(cleaned)})
    if cleaned is not None:
        print(f"\nremoved {size(cleaned.bytes)}")
        if cleaned.busy:
            say.note(f"not touched, as another process holds their lease: {', '.join(cleaned.busy)}")
    elif not going:
        print("\nnothing to remove")
    elif not asked:
        say.next_command("clean", results, *(["--all"] if everything else []), "--yes")
    return None


def _sums(items: Sequence[Item]) -> dict[str, tuple[int, int]]:
    """Return number and bytes by kind, in the order of the kinds."""
    from scaling.sweep.clean import KINDS

    by_kind = {kind: [item.bytes for item in items if item.kind == kind] for kind in KINDS}
    return {kind: (len(sizes), sum(sizes)) for kind, sizes in by_kind.items() if sizes}


def _table(items: Sequence[Item], everything: bool) -> str:
    from scaling.sweep.clean import KINDS, goes

    rows = list[tuple[str, ...]]()
    for kind, (number, total) in _sums(items).items():
        about = KINDS[kind]
        fate = "remove" if goes(kind, everything) else "keep" if about.fate == "kept" else "--all"
        rows.append((about.what + (f" ({number:,})" if number > 1 else ""), fate, about.why, size(total)))
    return columns(("what", "", "", "size"), rows, left=3)


def _json(items: Sequence[Item], everything: bool) -> dict[str, Any]:
    from scaling.sweep.clean import KINDS, goes

    return {
        "kinds": {
            kind: {"what": KINDS[kind].what, "number": number, "bytes": total, "goes": goes(kind, everything)}
            for kind, (number, total) in _sums(items).items()
        }
    }
