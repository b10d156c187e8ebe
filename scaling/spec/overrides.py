"""Changes of single fields, applied to the sections of a spec and checked as a spec is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from scaling.spec.axes import canonical, overlap
from scaling.spec.explain import explain, show
from scaling.spec.families import Family
from scaling.spec.guess import closest
from scaling.spec.models import Study
from scaling.spec.sections import Data, Recipe, WrittenRecipe
from scaling.spec.source import Finding, Override, Path, dotted_path

SECTIONS: dict[str, Any] = {"data": Data, "family": Family, "recipe": WrittenRecipe}


class Unfit(Exception):
    """Changes that make no valid section; ``findings`` say why, at the places of the changes."""

    def __init__(self, findings: Sequence[Finding]):
        super().__init__(findings)
        self.findings = tuple(findings)


@dataclass
class Sheet:
    """The sections of a study, and all that changes have made of them. Equal sections are one object, and
    each is validated once."""

    base: Mapping[str, Any]
    _made: dict[tuple[str, str], Any] = field(default_factory=dict[tuple[str, str], Any])
    _raw: dict[int, dict[str, Any]] = field(default_factory=dict[int, dict[str, Any]])

    def __post_init__(self) -> None:
        for name, section in self.base.items():
            self._keep(name, section)

    def changed(self, sections: Mapping[str, Any], overrides: Sequence[Override]) -> dict[str, Any]:
        """Return ``sections``, made by this sheet, with ``overrides`` applied in their order.

        Raises:
            Unfit: a section is not valid; or a change is below something that has no fields.
        """
        changed, findings = dict(sections), list[Finding]()
        for name in dict.fromkeys(override.field[0] for override in overrides):
            of_section = [override for override in overrides if override.field[0] == name]
            if name not in sections:
                continue  # not valid by itself, which is said elsewhere
            try:
                changed[str(name)] = self._section(str(name), sections[str(name)], of_section)
            except Unfit as error:
                findings += error.findings
        if findings:
            raise Unfit(findings)
        return changed

    def value(self, section: Any, path: Path) -> Any:
        """Return the plain value at ``path`` of a section that this sheet has made; None where it is left
        out."""
        node: Any = self._raw[id(section)]
        for part in path:
            node = cast(dict[Any, Any], node).get(part) if isinstance(node, dict) else None
        return node

    def _section(self, name: str, section: Any, overrides: Sequence[Override]) -> Any:
        raw: Any = self._raw[id(section)]
        for override in overrides:
            raw = _replaced(raw, override, 1)
        key = name, canonical(raw)
        if key not in self._made:
            try:
                made = _adapter(name).validate_python(raw)
            except ValidationError as error:
                found = explain(error, SECTIONS[name])
                placed = [replace(finding, path=(name, *finding.path)) for finding in found]
                raise Unfit([located(finding, overrides) for finding in placed]) from None
            self._made[key] = self._keep(name, made)
        return self._made[key]

    def _keep(self, name: str, section: Any) -> Any:
        """Return the one object that stands for all sections equal to ``section``."""
        raw = section.model_dump(mode="json", exclude_none=True)
        kept = self._made.setdefault((name, canonical(raw)), section)
        self._raw[id(kept)] = raw
        return kept


def located(finding: Finding, overrides: Sequence[Override]) -> Finding:
    """Move a finding to the change it is about; where it is about none of them, to the last."""
    about = [override for override in overrides if overlap(override.field, finding.path)]
    hint, guess = finding.hint, finding.meant
    if not about:
        message = f"{dotted_path(finding.path)}: {finding.message}"
        return Finding(overrides[-1].place, message, hint)
    override = about[-1]
    below = finding.path[len(override.field) :]
    if finding.at_key and not below:
        meant = f"did you mean '{dotted_path((*finding.path[:-1], guess))}'?" if guess else hint
        return Finding(override.key, finding.message, meant)
    return Finding((*override.place, *below), finding.message, hint)


def field_findings(names: Iterable[tuple[str, Path]]) -> Iterator[Finding]:
    """Find field paths, each with its place, that no axis or variant can change."""
    for name, place in names:
        root, *rest = name.split(".")
        if root not in SECTIONS:
            yield Finding(place, _refusal(root), _meant(name, root))
        elif rest and rest[-1] == "kind":
            message = "a kind changes with all that goes with it"
            above = ".".join([root, *rest[:-1]])
            yield Finding(place, message, f"give the whole of {above}: {{kind: ..., ...}}")


def _refusal(root: str) -> str:
    what = "is not changed by axes and variants" if root in Study.model_fields else "is no part of a spec"
    return f"'{root}' {what}: they change fields of data, family and recipe"


def _meant(name: str, root: str) -> str:
    """Guess the field path that was meant."""
    for section, model in (("recipe", Recipe), ("data", Data)):
        if root in model.model_fields:
            return f"did you mean '{section}.{name}'?"
    guess = closest(root, list(SECTIONS))
    return f"did you mean '{guess}{name[len(root) :]}'?" if guess else "such as recipe.batch_tokens"


def _replaced(node: Any, override: Override, depth: int) -> Any:
    """Copy a plain tree with one node replaced; None takes it out.

    Raises:
        Unfit: there is something without fields above it.
    """
    if depth == len(override.field):
        return override.value
    if not isinstance(node, dict):
        above = dotted_path(override.field[:depth])
        message = f"{above} is {show(node)}, so it has no '{override.field[depth]}'"
        raise Unfit([Finding(override.place, message, f"give the whole of {above}")])
    copy, part = dict(cast(dict[str, Any], node)), str(override.field[depth])
    new = _replaced(copy.get(part, {}), override, depth + 1)
    if new is None:
        copy.pop(part, None)
    else:
        copy[part] = new
    return copy


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(SECTIONS[name])
