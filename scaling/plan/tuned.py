"""Files of tuned rules: found, hashed, and read as much as a rule needs of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError

from scaling.recipe.rules import SCALES, Scale
from scaling.recipe.tuned import LAWS, Tuned, TunedLaw
from scaling.recipe.written import Place, RuleError, fits, rules_in, target_of
from scaling.spec.sections import AnyRecipe
from scaling.spec.source import Finding, dotted_path

R = TypeVar("R", bound=AnyRecipe)
USABLE = ("ok", "partly_identified")
HINT = "give the file that `scaling basins --out FILE` wrote"


class _Status(BaseModel):
    code: str
    message: str


class _Identified(BaseModel):
    verdict: str


class _Formula(BaseModel):
    terms: dict[str, dict[str, str]]


class _Fit(BaseModel):
    """A power law c / (product of input^exponent); the formula names the exponent of each input."""

    law: _Formula
    solution: dict[str, float]
    status: _Status
    identified: dict[str, _Identified]


class _Basins(BaseModel):
    columns: dict[str, str]
    laws: dict[str, _Fit]


def settled(recipe: R, folder: Path) -> tuple[R, list[Finding]]:
    """Return the recipe with the laws of its tuned rules; and of those that stay without one, why: a file
    cannot be read, is another than asked for, or has no such law.

    Args:
        recipe: of a study, or of a variant of it.
        folder: of the spec, which paths are relative to.
    """
    wrong = list[Finding]()
    for place, rule in rules_in(recipe):
        if isinstance(rule, Tuned) and not isinstance(rule, TunedLaw) and fits(place, rule):
            try:
                recipe = _replaced(recipe, place, _law(rule, place, folder))
            except RuleError as error:
                wrong.append(Finding(("recipe", *error.place), str(error), error.hint))
    return recipe, wrong


def tuned_in(recipe: AnyRecipe) -> dict[str, str] | None:
    """Return where a recipe has tuned rules, and what they are; None where it has none."""
    found = {
        dotted_path(("recipe", *place)): str(rule)
        for place, rule in rules_in(recipe)
        if isinstance(rule, TunedLaw)
    }
    return found or None


def with_hashes(raw: Any, folder: Path) -> Any:
    """Copy the plain values of a spec, with the sha256 of every tuned file filled in."""
    if isinstance(raw, Mapping):
        items = cast(Mapping[str, Any], raw)
        copy = {name: with_hashes(value, folder) for name, value in items.items()}
        if copy.get("kind") == "tuned" and isinstance(copy.get("file"), str):
            copy["sha256"] = hashlib.sha256(_content(copy["file"], ("file",), folder)).hexdigest()
        return copy
    if isinstance(raw, Sequence) and not isinstance(raw, str):
        return [with_hashes(value, folder) for value in cast(Sequence[Any], raw)]
    return raw


def _replaced(model: Any, place: Place, rule: TunedLaw) -> Any:
    """Copy a part of a recipe with one rule in it replaced."""
    if not place:
        return rule
    name, *below = place
    match model:
        case dict() | list():
            parts: Any = cast(Any, model).copy()
            parts[name] = _replaced(parts[name], tuple(below), rule)
            return parts
        case _:
            return model.model_copy(update={name: _replaced(getattr(model, str(name)), tuple(below), rule)})


def _content(file: str, place: Place, folder: Path) -> bytes:
    """Read a file relative to the spec, or else to the working directory."""
    path = next((path for path in (folder / file, Path(file)) if path.is_file()), None)
    if path is None:
        raise RuleError(place, f"no such file: {file}", HINT)
    try:
        return path.read_bytes()
    except OSError as error:
        raise RuleError(place, f"{file} cannot be read: {error.strerror}", HINT) from None


def _law(rule: Tuned, place: Place, folder: Path) -> TunedLaw:
    at, target = (*place, "file"), target_of(place)
    name = LAWS[target]
    content = _content(rule.file, at, folder)
    sha256 = hashlib.sha256(content).hexdigest()
    if rule.sha256 not in (None, sha256):
        hint = f"if that is meant, write sha256: {sha256}, or leave it out"
        raise RuleError((*place, "sha256"), f"{rule.file} is another file: its sha256 is {sha256}", hint)
    try:
        basins = _Basins.model_validate_json(content)
    except ValidationError:
        raise RuleError(at, f"{rule.file} holds no basins", HINT) from None
    fit = basins.laws.get(name)
    if fit is None or basins.columns.get(name) != target:
        raise RuleError(at, f"{rule.file} has no law of {target}", f"find basins of a sweep of {target}")
    ((coefficient, exponents),) = fit.law.terms.items()
    # the coefficient is the value at inputs of 1, far outside of any sweep: its own interval does not matter
    loose = [column for column, power in exponents.items() if fit.identified[power].verdict != "yes"]
    if fit.status.code not in USABLE or loose:
        what = f"its exponents of {', '.join(loose)} are not identified; " if loose else ""
        message = f"the law of {target} in {rule.file} is {fit.status.code}: {what}{fit.status.message}"
        hint = "sweep more cells, or more values in each, or fit a law of fewer inputs (--lr-on, --batch-on)"
        raise RuleError(at, message, hint)
    foreign = [column for column in exponents if column not in SCALES]
    if foreign:
        message = f"the law of {target} in {rule.file} is one of {', '.join(foreign)}"
        raise RuleError(at, message, f"a rule uses {', '.join(SCALES)}")
    powers = {cast(Scale, column): -fit.solution[power] for column, power in exponents.items()}
    written = {"kind": "tuned", "file": rule.file, "sha256": sha256}
    return TunedLaw.model_validate(written | {"coefficient": fit.solution[coefficient], "exponents": powers})
