"""What was decided of a design that grows as results come in: it stands in study.yaml of the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from scaling.errors import UserError
from scaling.spec.designs.isoflop import IsoFLOP
from scaling.spec.models import Study
from scaling.spec.text import parse
from scaling.store.folder import ResultsFolder


def with_decisions(study: Study, folder: Path) -> Study:
    """Return a study with the centres of its windows that were decided in ``folder``, where its design takes
    them as results come in and does not state them itself."""
    design = study.design
    if not isinstance(design, IsoFLOP) or not design.grows:
        return study
    for one in _decided(folder):
        budget, params, because = one.get("budget"), one.get("params"), one.get("because")
        if budget in design.waiting and isinstance(params, int | float) and isinstance(because, str):
            design = design.decided(float(cast(float, budget)), float(params), because)
    return study.model_copy(update={"design": design})


def _decided(folder: Path) -> list[dict[str, Any]]:
    """Return what study.yaml of a folder says was decided; nothing where there is none."""
    entries = _node(folder, "design", "window", "center").get("decided")
    return [one for one in cast(list[Any], entries or []) if isinstance(one, dict)]


def _node(folder: Path, *names: str) -> dict[str, Any]:
    """Return a mapping in study.yaml of a folder; an empty one where there is none."""
    try:
        node: Any = parse(ResultsFolder(folder).spec.read_text("utf-8"), "study.yaml").value
    except (OSError, UnicodeDecodeError, UserError):
        return {}
    for name in names:
        node = cast(dict[str, Any], node).get(name) if isinstance(node, dict) else None
    return cast(dict[str, Any], node) if isinstance(node, dict) else {}
