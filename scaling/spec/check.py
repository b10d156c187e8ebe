"""Checks that need more than one field, but neither FLOPs nor data.

Each takes whatever sections are valid by themselves, so that they are reported together with the errors of
the other sections.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scaling.spec.models import Data, Recipe, Study
from scaling.spec.source import Finding


def check_study(study: Study) -> list[Finding]:
    return check_sections({name: getattr(study, name) for name in type(study).model_fields})


def check_sections(sections: Mapping[str, Any]) -> list[Finding]:
    """Check the sections given, by name of the field of :class:`~scaling.spec.models.Study`."""
    findings = list[Finding]()
    data, family, recipe = sections.get("data"), sections.get("family"), sections.get("recipe")
    if family is not None:
        findings += family.findings()
    if isinstance(data, Data) and isinstance(recipe, Recipe):
        findings += _batch(data, recipe)
    if sections.get("design") is not None:
        findings += sections["design"].findings(family)
    for i, cell in enumerate(sections.get("holdout") or ()):
        findings += cell.findings(("holdout", i), family)
    if sections.get("noise") is not None:
        findings += sections["noise"].findings(("noise",), family)
    return findings


def _batch(data: Data, recipe: Recipe) -> Iterator[Finding]:
    batch, context = recipe.batch_tokens, data.context
    if batch % context:
        near = f"{batch // context * context} or " if batch > context else ""
        message = f"must be a multiple of data.context = {context}, is {batch}"
        yield Finding(("recipe", "batch_tokens"), message, f"use {near}{(batch // context + 1) * context}")
