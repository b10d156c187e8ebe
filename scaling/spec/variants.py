"""What a study trains its design with: each variant, or the study itself, with the axes that hold there."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from scaling.spec.axes import (
    Axis,
    PlacedAxis,
    Variant,
    axis_findings,
    canonical,
    field_of,
    overlap,
    overlapping,
)
from scaling.spec.checks import check_sections, chosen_cells
from scaling.spec.designs.cells import Chosen, Point
from scaling.spec.guess import closest
from scaling.spec.overrides import SECTIONS, Sheet, Unfit, field_findings, located
from scaling.spec.source import Finding, Override, Path

MOST_POINTS = 100_000  # of a design that a cell of an axis is looked for in; larger ones are not planned


@dataclass(frozen=True, eq=False)
class Arm:
    """A variant, or the study itself where it has none (``name`` is None then)."""

    name: str | None
    overrides: tuple[Override, ...]
    axes: tuple[PlacedAxis, ...]

    @cached_property
    def fit_axes(self) -> tuple[PlacedAxis, ...]:
        return tuple(placed for placed in self.axes if placed.axis.role is None)

    @cached_property
    def tuning_axes(self) -> tuple[PlacedAxis, ...]:
        return tuple(placed for placed in self.axes if placed.axis.role == "tuning")

    def fit_choices(self, point: Point, keys: Sequence[str]) -> Iterator[tuple[Override, ...]]:
        """Yield what the axes that multiply the design choose at a point."""
        axes = [placed.choices for placed in self.fit_axes if placed.axis.applies(point, keys)]
        for rows in itertools.product(*axes):
            yield tuple(itertools.chain(*rows))

    def tuning_choices(self, point: Point, keys: Sequence[str]) -> Iterator[tuple[Override, ...]]:
        """Yield what each axis of role tuning chooses at a point."""
        for placed in self.tuning_axes:
            yield from placed.choices if placed.axis.applies(point, keys) else ()

    def count(self, point: Point, keys: Sequence[str]) -> int:
        """Count the choices at a point without making them: those of the design, and those beside it."""
        of_design, beside = 1, 0
        for placed in self.axes:
            if placed.axis.applies(point, keys):
                of_design *= placed.axis.count if placed.axis.role is None else 1
                beside += placed.axis.count if placed.axis.role else 0
        return of_design * (1 + beside)

    def open_fields(self, point: Point, keys: Sequence[str]) -> list[Path]:
        """Return the fields that an axis without a role varies at a point."""
        axes = [placed for placed in self.fit_axes if placed.axis.applies(point, keys)]
        return [field for placed in axes for field in placed.fields]


def arms(axes: Sequence[Axis], variants: Mapping[str, Variant]) -> tuple[Arm, ...]:
    """Return the variants, each with the axes of the study and its own."""
    common = _placed(axes, ("axes",))
    if not variants:
        return (Arm(None, (), common),)
    return tuple(
        Arm(
            name,
            overrides(variant.changes, ("variants", name)),
            (*common, *_placed(variant.axes, ("variants", name, "axes"))),
        )
        for name, variant in variants.items()
    )


def overrides(changes: Mapping[str, Any], place: Path) -> tuple[Override, ...]:
    """Return what a mapping of field paths to values, written at ``place``, changes."""
    return tuple(Override(field_of(name), v, (*place, name), (*place, name)) for name, v in changes.items())


def variation_findings(sections: Mapping[str, Any]) -> list[Finding]:
    """Find what is wrong with the axes, variants and values of cells; each value by itself, so that it takes
    no longer than the spec is long. ``sections`` are those of the study that are valid."""
    axes, variants = _axes(sections), _variants(sections)
    chosen = chosen_cells(sections)
    findings = [
        finding
        for cell, place in chosen
        if cell.variant is not None and cell.variant not in variants
        for finding in _unknown_variant(cell.variant, (*place, "variant"), list(variants))
    ]
    if not axes and not variants and not any(cell.values for cell, _ in chosen):
        return findings
    sheet = Sheet({name: sections[name] for name in SECTIONS if name in sections})
    names, before = list(field_findings(changes_of(sections))), check_sections(sections)
    of_arms = {
        arm.name: list(dict.fromkeys(_Check(sections, sheet, arm, names, before).findings()))
        for arm in arms(axes, variants)
    }
    findings += _with_variants(of_arms)
    findings += _same_variants(sheet, variants)
    return list(dict.fromkeys(findings))


def _with_variants(of_arms: Mapping[str | None, list[Finding]]) -> Iterator[Finding]:
    """Yield the findings of all arms; of those about axes of the study that not all arms have, say in which
    variant they hold."""
    of_all = set(next(iter(of_arms.values()))).intersection(*of_arms.values())
    for name, findings in of_arms.items():
        for finding in findings:
            own = finding.path[:1] == ("axes",) and finding not in of_all
            yield replace(finding, message=f"in variant {name}: {finding.message}") if own else finding


def _same_variants(sheet: Sheet, variants: Mapping[str, Variant]) -> Iterator[Finding]:
    """Find variants that are one of those before under another name."""
    first = dict[tuple[Any, ...], str]()
    for name, variant in variants.items():
        changes = overrides(variant.changes, ("variants", name))
        try:
            sections = sheet.changed(sheet.base, changes)
        except Unfit:
            continue  # said elsewhere
        if not all(override.field[0] in sections for override in changes):
            continue
        axes = canonical([axis.model_dump(mode="json") for axis in variant.axes])
        other = first.setdefault((*map(id, sections.values()), axes), name)
        if other != name:
            message = f"differs in nothing from {other}"
            yield Finding(
                ("variants", name), message, "change something in one of them, or remove it", by_lack=True
            )


def changes_of(sections: Mapping[str, Any]) -> list[tuple[str, Path]]:
    """Return all field paths that the axes, variants and cells of a study name, with their places."""
    named = list[tuple[str, Path]]()
    for arm in arms(_axes(sections), _variants(sections)):
        named += [(".".join(map(str, o.field)), o.key) for o in arm.overrides]
        named += [(name, column[0].key) for placed in arm.axes for name, column in placed.columns.items()]
    for cell, place in chosen_cells(sections):
        named += [(name, (*place, "values", name)) for name in cell.values]
    return list(dict.fromkeys(named))


@dataclass(frozen=True)
class _Check:
    """The checks of one arm. Of the whole study are ``names``, what is wrong with field paths, and
    ``before``, what is wrong with its sections as they are written."""

    study: Mapping[str, Any]
    sheet: Sheet
    arm: Arm
    names: Sequence[Finding]
    before: Sequence[Finding]

    def findings(self) -> Iterator[Finding]:
        wrong = list(self.names)
        wrong += overlapping(self.arm.axes)
        wrong += self._set_twice()
        wrong += self._set_by_design()
        yield from wrong
        bad = {finding.path for finding in wrong}
        changed: dict[str, Any] | None = yield from self._changed(
            self.sheet.base, self._sound(self.arm.overrides, bad)
        )
        axes = self.arm.axes
        if changed is None:  # the axes of the study are looked at all the same
            changed, axes = dict(self.sheet.base), [placed for placed in axes if placed.place[0] == "axes"]
        sections: dict[str, Any] = {**self.study, **changed}
        yield from self._of_variant(sections)
        family, design = sections.get("family"), sections.get("design")
        keys: tuple[str, ...] = family.keys if family is not None else ()
        all_points = design.points(family) if family is not None and design is not None else ()
        points = list(itertools.islice(all_points, MOST_POINTS))
        for placed in axes:
            yield from axis_findings(placed, points, keys)
            if (placed.axis.cross is None) == (placed.axis.zip is None):
                continue
            for column in placed.columns.values():
                for override in self._sound(column, bad):
                    yield from self._changed(changed, [override])
        for cell, place in chosen_cells(self.study):
            if cell.variant in (None, self.arm.name):
                yield from self._cell(cell, place, changed, bad)

    def _of_variant(self, sections: Mapping[str, Any]) -> Iterator[Finding]:
        """Find what is wrong with the variant's sections together, and with the cells that name it."""
        named = {place for cell, place in chosen_cells(self.study) if cell.variant == self.arm.name}
        for finding in check_sections(sections, self.arm.name) if self.arm.name else ():
            if any(finding.path[: len(place)] == place for place in named):
                yield finding
            elif self.arm.overrides and finding not in self.before:
                yield located(finding, self.arm.overrides)

    def _set_twice(self) -> Iterator[Finding]:
        """Find changes of a variant that an axis takes back."""
        for override in self.arm.overrides:
            for placed in self.arm.axes:
                for field in placed.fields:
                    if field == override.field[: len(field)]:
                        message = f"an axis changes {'.'.join(map(str, field))} too, so this has no effect"
                        yield Finding(override.key, message, "keep one of them")

    def _set_by_design(self) -> Iterator[Finding]:
        """Find changes of a variant or an axis that the design makes itself."""
        design = self.study.get("design")
        for own in design.overrides if design is not None else ():
            name = ".".join(map(str, own.field))
            message = f"the design changes {name} itself, in design.{own.key[-1]}"
            for override in self.arm.overrides:
                if overlap(own.field, override.field):
                    yield Finding(override.key, message, "keep one of them")
            for placed in self.arm.axes:
                kind = "cross" if placed.axis.cross else "zip"
                for field, written in zip(placed.fields, placed.axis.fields, strict=True):
                    if overlap(own.field, field):
                        yield Finding((*placed.place, kind, written), message, "keep one of them")

    def _cell(self, cell: Chosen, place: Path, changed: dict[str, Any], bad: set[Path]) -> Iterator[Finding]:
        own = self._sound(overrides(cell.values, (*place, "values")), bad)
        yield from self._changed(changed, own)
        family = changed.get("family")
        if family is None or any(True for _ in cell.findings(place, family)):
            return
        given = [override.field for override in own]
        open_fields = self.arm.open_fields(cell.point(family, place), family.keys)
        left = [f for f in open_fields if not any(overlap(f, g) and len(g) <= len(f) for g in given)]
        if left:
            names = [".".join(map(str, field)) for field in left]
            message = (
                f"an axis varies {' and '.join(names)} here, and this cell does not say which value it takes"
            )
            yield Finding(place, message, f"add 'values: {{{', '.join(f'{name}: ...' for name in names)}}}'")

    def _changed(
        self, sections: Mapping[str, Any], changes: Sequence[Override]
    ) -> Generator[Finding, None, dict[str, Any] | None]:
        """Yield what is wrong with changed sections, and return them: None where something is."""
        try:
            return self.sheet.changed(sections, changes)
        except Unfit as error:
            yield from error.findings
            return None

    @staticmethod
    def _sound(changes: Sequence[Override], bad: set[Path]) -> list[Override]:
        return [override for override in changes if override.key not in bad]


def _unknown_variant(name: str, place: Path, known: list[str]) -> Iterator[Finding]:
    guess = closest(name, known)
    hint = f"did you mean '{guess}'?" if guess else f"known: {', '.join(known) or 'none'}"
    yield Finding(place, f"no variant is named '{name}'", hint)


def _axes(sections: Mapping[str, Any]) -> tuple[Axis, ...]:
    return sections.get("axes", ())


def _variants(sections: Mapping[str, Any]) -> dict[str, Variant]:
    return sections.get("variants", {})


def _placed(axes: Sequence[Axis], place: Path) -> tuple[PlacedAxis, ...]:
    return tuple(PlacedAxis(axis, (*place, i)) for i, axis in enumerate(axes))
