"""Studies as text: study.yaml, and specs of the next study, which find the files that they name."""

from __future__ import annotations

import io
import itertools
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

from ruamel.yaml import YAML

from scaling.plan.kept import specs_folder
from scaling.plan.tuned import with_hashes
from scaling.spec.designs.cells import Cell
from scaling.spec.models import Study

# Fields of corpora, tokenizers, tuned rules, recipes and families that are relative to the folder of a spec.
RELATIVE = frozenset({"files", "path", "file", "init_from", "describe"})
LONG = 10**6  # characters: a line that is never broken


def study_text(study: Study) -> str:
    """Return a spec with every default filled in, which plans the same runs."""
    text = io.StringIO()
    if study.trainer is not None:  # the text is read elsewhere
        trainer = study.trainer.model_copy(update={"folder": str(study.commands_folder)})
        study = study.model_copy(update={"trainer": trainer})
    spec = study.model_dump(mode="json", exclude_none=True, exclude={"folder"})  # the plan says it
    dumper: Any = YAML()
    dumper.dump(with_hashes(spec, study.source.folder), text)
    return text.getvalue()


def spec_text(study: Study, place: Path | None, *heading: str) -> str:
    """Return a spec as a user would write it, without what it would have if it were left out.

    Args:
        study: whose spec it is.
        place: that it will be written to; None: it is printed.
        heading: lines of comment before it.
    """
    text = io.StringIO()
    text.writelines(f"# {line}\n" for line in heading)
    _dumper().dump(_chosen(_placed(study, place)), text)
    return text.getvalue()


def cell_text(cell: Cell) -> str:
    """Return a cell as a spec has it, on one line."""
    text, dumper = io.StringIO(), _dumper(on_one_line=True)
    dumper.dump(cell.model_dump(mode="json", exclude_defaults=True), text)
    return text.getvalue().strip()


def _dumper(*, on_one_line: bool | None = None) -> Any:
    """A writer of specs as a user would write them; left out: the innermost lists and sections on a line."""
    dumper: Any = YAML()
    dumper.default_flow_style = on_one_line
    dumper.width = LONG if on_one_line else None
    dumper.representer.add_representer(float, _plain)
    return dumper


def _placed(study: Study, place: Path | None) -> Study:
    """Return a study with the ``folder`` that its paths are relative to, where ``place`` has another and it
    has such paths."""
    base = study.source.folder.resolve()
    here = None if place is None else (specs_folder(place.parent) or place.parent).resolve()
    named = None if here == base or not _names_files(study, base) else str(base)
    if named is not None and here is not None:
        named = os.path.relpath(base, here)
    return study.model_copy(update={"folder": named})


def _names_files(study: Study, folder: Path) -> bool:
    """Whether a study has fields that are relative to its folder: files, weights or a run to start from,
    commands. A prior is one where its file lies there."""

    def fields(value: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict):
            for name, held in cast(dict[str, Any], value).items():
                yield name.rpartition(".")[2], held  # of axes and variants the last part
                yield from fields(held)
        elif isinstance(value, list):
            yield from itertools.chain.from_iterable(map(fields, cast(list[Any], value)))

    dump = study.model_dump(mode="json", exclude_none=True, exclude={"study", "folder"})
    return study.trainer is not None or any(
        name in RELATIVE or (name == "prior" and (folder / str(value)).is_file())
        for name, value in fields(dump)
    )


def _plain(representer: Any, value: float) -> Any:
    """A number as one would write it: 1.7e+11."""
    text = f"{value:.12g}"
    text += "" if {*text} & {*".e"} else ".0"
    return representer.represent_scalar("tag:yaml.org,2002:float", text)


def _chosen(study: Study) -> Any:
    """The fields of a study that are not their defaults, and kinds."""

    def kept(all_: Any, changed: Any) -> Any:
        if isinstance(all_, dict):
            fields = cast(dict[str, Any], all_)
            names = [name for name in fields if name in changed or name == "kind"]
            return {name: kept(fields[name], changed.get(name, fields[name])) for name in names}
        if isinstance(all_, list):
            return [kept(one, other) for one, other in zip(cast(list[Any], all_), changed, strict=True)]
        return all_

    dump = partial(study.model_dump, mode="json", exclude_none=True, exclude_unset=True)
    return kept(dump(), dump(exclude_defaults=True))
