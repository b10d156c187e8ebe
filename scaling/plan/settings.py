"""What runs are trained with: the sections of a study after its axes and variants were applied."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from scaling.counts.model import Model
from scaling.data.index import DataIndex
from scaling.errors import Complaint, UserError
from scaling.plan.labels import Names, names_of
from scaling.plan.tuned import settled, tuned_in
from scaling.spec.axes import overlap
from scaling.spec.checks import check_sections, chosen_cells, rule_findings
from scaling.spec.external import ExternalFamily
from scaling.spec.families import Family, Size
from scaling.spec.models import Study
from scaling.spec.overrides import SECTIONS, Sheet, Unfit, located
from scaling.spec.sections import AnyRecipe, Data, Recipe
from scaling.spec.source import Finding, Override, Path
from scaling.spec.variants import Arm, arms, overrides

UNDESCRIBED = Finding(
    ("family", "describe"),
    "is asked for sizes by `scaling plan` and `scaling run` alone, of the study's own family",
    "write them out as family.sizes: `scaling plan SPEC --resolved` prints them",
)


@dataclass(frozen=True, eq=False)
class Choice:
    """The sections of a study after ``changes``: those of its variant, and what axes or a cell choose. Equal
    sections of one study are one object. ``values`` are the columns that show what was chosen, ``columns``
    their names by the paths of fields."""

    variant: str | None
    data: Data
    family: Family
    recipe: AnyRecipe
    changes: tuple[Override, ...] = ()
    label: str = ""
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    columns: Mapping[Path, str] = field(default_factory=dict[Path, str])

    def located(self, finding: Finding) -> Finding:
        """Move a finding about a changed field to where it was changed."""
        root = finding.path[0] if finding.path else None
        changed = any(override.field[0] == root for override in self.changes)
        return located(finding, self.changes) if changed else finding


@dataclass(frozen=True, eq=False)
class Setting:
    """One choice of data, family and recipe, with the index of the data; many runs have the same."""

    data: Data
    index: DataIndex
    family: Family
    recipe: AnyRecipe
    choice: Choice

    @property
    def variant(self) -> str | None:
        return self.choice.variant

    @property
    def values(self) -> dict[str, Any]:
        return self.choice.values

    @property
    def built_in(self) -> Recipe:
        """The recipe, where only one of the built-in trainer can be meant."""
        assert isinstance(self.recipe, Recipe), "a trainer of one's own has a recipe of its own"
        return self.recipe

    @cached_property
    def rules(self) -> dict[str, str] | None:
        """Where the recipe has tuned rules, and what they are; None where it has none."""
        return tuned_in(self.recipe)

    @property
    def same(self) -> tuple[int, int]:
        """Equal for settings of one study that train the same shape in the same way."""
        return id(self.data), id(self.recipe)

    def shape(self, size: Size) -> Model:
        """Spell out a size of the family."""
        tokenizer = self.index.tokenizer
        return self.family.member(size).shape(
            tokenizer.vocab_size, self.data.context, separator=tokenizer.separator
        )


@dataclass
class Choices:
    """Make the choices of a study. What is wrong with any of them is added to ``findings``."""

    study: Study
    findings: list[Finding] = field(default_factory=list[Finding])
    _made: dict[tuple[int, tuple[int, ...]], tuple[Choice | None, tuple[Override, ...]]] = field(
        default_factory=dict[tuple[int, tuple[int, ...]], "tuple[Choice | None, tuple[Override, ...]]"]
    )
    _recipes: dict[int, AnyRecipe | None] = field(default_factory=dict[int, "AnyRecipe | None"])
    _checked: set[tuple[int, ...]] = field(default_factory=set[tuple[int, ...]])

    @cached_property
    def arms(self) -> tuple[Arm, ...]:
        return arms(self.study.axes, self.study.variants)

    @cached_property
    def sheet(self) -> Sheet:
        return Sheet({name: getattr(self.study, name) for name in SECTIONS})

    @cached_property
    def names(self) -> Names:
        return names_of(self._all_changes())

    def _all_changes(self) -> Iterator[Override]:
        for arm in self.arms:
            for placed in arm.axes:
                yield from itertools.chain(*placed.columns.values())
        yield from self.study.design.overrides
        for cell, place in chosen_cells(dict(self.study)):
            yield from overrides(cell.values, (*place, "values"))

    def of(self, arm: Arm, chosen: tuple[Override, ...] = ()) -> Choice | None:
        """Return what a variant and the changes ``chosen`` make of the study; None where it is not valid."""
        key = id(arm), tuple(map(id, chosen))
        if key not in self._made:
            self._made[key] = self._make(arm, chosen), chosen  # kept, so that its id stays its own
        return self._made[key][0]

    def _make(self, arm: Arm, chosen: tuple[Override, ...]) -> Choice | None:
        changes = (*arm.overrides, *chosen)
        try:
            sections = self.sheet.changed(self.sheet.base, changes)
        except Unfit as error:
            self.findings += error.findings
            return None
        if isinstance(sections["family"], ExternalFamily) and sections["family"].sizes is None:
            self.findings.append(located(UNDESCRIBED, changes) if changes else UNDESCRIBED)
            return None
        objects = tuple(map(id, sections.values()))
        if changes and objects not in self._checked:
            self._checked.add(objects)
            self._check(arm, sections, changes, bool(chosen))
        given = {override.field: override.value for override in chosen}
        values = {
            column: self.names.cell(
                path,
                given[path] if path in given else self.sheet.value(sections[str(path[0])], path[1:]),
            )
            for path, column in self.names.columns.items()
        }
        choice = Choice(
            arm.name,
            **sections,
            changes=changes,
            label=self.names.label(chosen),
            values=values,
            columns=self.names.columns,
        )
        recipe = self._settled(choice)
        return None if recipe is None else replace(choice, recipe=recipe)

    def read_files(self) -> None:
        """Read the files of tuned rules, whatever else is wrong with the study: of each variant, with each
        value on an axis by itself."""
        for arm in self.arms:
            columns = (
                column for placed in arm.axes if placed.axis.fields for column in placed.columns.values()
            )
            for changes in ((), *((override,) for column in columns for override in column)):
                try:
                    sections = self.sheet.changed(self.sheet.base, (*arm.overrides, *changes))
                except Unfit:
                    continue  # said elsewhere
                self._settled(Choice(arm.name, **sections, changes=(*arm.overrides, *changes)))

    def _settled(self, choice: Choice) -> AnyRecipe | None:
        """Return the recipe with its tuned rules read, the same object for the same recipe; None where they
        are not right."""
        key = id(choice.recipe)
        if key not in self._recipes:
            recipe, wrong = settled(choice.recipe, self.study.source.folder)
            wrong += rule_findings(recipe) if recipe is not choice.recipe else []
            changed = [override.field for override in choice.changes]
            for finding in wrong:
                is_changed = any(overlap(field, finding.path) for field in changed)
                self.findings.append(choice.located(finding) if is_changed else finding)
            self._recipes[key] = None if wrong else recipe
        return self._recipes[key]

    def _check(
        self, arm: Arm, sections: dict[str, Any], changes: tuple[Override, ...], on_axes: bool
    ) -> None:
        before = self.sheet.changed(self.sheet.base, arm.overrides)
        found = check_sections({**dict(self.study), **sections}, arm.name)
        self.findings += [located(finding, changes) for finding in found]
        old, new = before["family"], sections["family"]
        if on_axes and (old.keys, old.members) != (new.keys, new.members):
            override = next(o for o in reversed(changes) if o.field[0] == "family")
            message = "changes the sizes of the family, which the design is made of"
            self.findings.append(Finding(override.place, message, "make it a variant"))


def study_of(study: Study, variant: str) -> Study:
    """A variant as a study of its own, without axes. Raises UserError where there is none of that name."""
    choices = Choices(study)
    arm = next((arm for arm in choices.arms if arm.name == variant), None)
    if arm is None:
        message = f"variant {variant!r} is none of {', '.join(study.variants) or 'the study, which has none'}"
        raise UserError(Complaint(message, "variants", "give the spec that the runs were trained by"))
    sections = choices.sheet.changed(choices.sheet.base, arm.overrides)
    return study.model_copy(update={**sections, "variants": {}, "axes": ()})


def settings_of(index_of: Callable[[Data], DataIndex]) -> Callable[[Choice], Setting]:
    """Return a function that gives each choice its one setting."""
    settings = dict[int, Setting]()

    def setting(choice: Choice) -> Setting:
        if id(choice) not in settings:
            data = choice.data
            settings[id(choice)] = Setting(data, index_of(data), choice.family, choice.recipe, choice)
        return settings[id(choice)]

    return setting
