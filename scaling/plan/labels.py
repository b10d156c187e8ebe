"""Short names of fields and values: parts of the labels of runs, and columns of the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from scaling.recipe.optimizers import RoleRates
from scaling.spec.axes import Axis, canonical
from scaling.spec.models import Study
from scaling.spec.source import Override, Path

SHORT = {
    "learning_rate": "lr",
    "batch_tokens": "b",
    "weight_decay": "wd",
    "warmup": "warm",
    "unique_tokens": "u",
    "context": "ctx",
    "clip_norm": "clip",
    "mlp_ratio": "mlp",
    "coefficient": "c",
    "exponent": "exp",
}
# Fields that a column of every table shows, or a column of their own wherever they are set.
STANDING = {
    "recipe.learning_rate",
    "recipe.optimizer.learning_rate",
    "recipe.optimizer.weight_decay",
    *(f"recipe.optimizer.learning_rates.{role}" for role in RoleRates.model_fields),
    "recipe.batch_tokens",
    "recipe.precision",
    "data.context",
    "data.tokenizer",
    "data.unique_tokens",
    "family.depth",
    "family.width",
    "family.kv_heads",
}
SHOWN = 10  # values of an axis that a line names
# where the kinds of the values differ
KIND_STANDING = {"recipe.optimizer", "recipe.schedule", "recipe.parametrization"}


@dataclass(frozen=True)
class Names:
    """What the varied fields of a study and their values are called."""

    texts: Mapping[tuple[Path, str], str]
    columns: Mapping[Path, str]

    def label(self, chosen: Sequence[Override]) -> str:
        """Write what was chosen: ``lr2e-3-b512``."""
        return "-".join(self._part(override) for override in chosen)

    def cell(self, field: Path, value: Any) -> Any:
        """Return what a column says of a value: numbers as they are, the text of anything nested."""
        if isinstance(value, dict | list):
            return self.texts.get((field, canonical(value))) or value_text(value)
        return value

    def _part(self, override: Override) -> str:
        value: Any = override.value
        name, text = _short(override.field), self.texts[override.field, canonical(value)]
        if value is None:
            return f"{name}=default"
        if isinstance(value, dict) or (isinstance(value, str) and text[:1].isalpha()):
            return text
        return f"{name}={text}" if name[-1].isdigit() else f"{name}{text}"


def names_of(changes: Iterable[Override]) -> Names:
    """Name all ``changes`` that axes and cells make, so that the values of a field differ in their texts."""
    values = dict[Path, dict[str, Any]]()
    for override in changes:
        values.setdefault(override.field, {})[canonical(override.value)] = override.value
    texts = dict[tuple[Path, str], str]()
    for field, of_field in values.items():
        seen = dict[str, int]()
        for key, value in of_field.items():
            text = value_text(value)
            seen[text] = seen.get(text, 0) + 1
            texts[field, key] = text if seen[text] == 1 else f"{text}.{seen[text]}"
    return Names(texts, _columns(values, texts))


def _columns(
    values: Mapping[Path, Mapping[str, Any]], texts: Mapping[tuple[Path, str], str]
) -> dict[Path, str]:
    columns = dict[Path, str]()
    for field, of_field in values.items():
        dotted = ".".join(map(str, field))
        of_kinds = dotted in KIND_STANDING and all(
            texts[field, key] == value_text(value) for key, value in of_field.items()
        )
        if dotted not in STANDING and not of_kinds:
            name = _column(field)
            columns[field] = dotted if dotted in KIND_STANDING or name in columns.values() else name
    return columns


def _column(field: Path) -> str:
    """Return the last part of a path; the last two where it is a part of a rule, a corpus or a tokenizer."""
    nested = len(field) > 3 or (len(field) > 2 and field[:1] == ("data",))
    return ".".join(map(str, field[-2 if nested else -1 :]))


def _short(field: Path) -> str:
    return ".".join(SHORT.get(part, part) for part in _column(field).split("."))


def value_text(value: Any) -> str:
    """Write a value in a label: ``2e-3``, ``20%``, the kind of a mapping."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return _number(value)
        case None:
            return "none"
        case dict():
            return str(cast(dict[str, Any], value).get("kind", "mapping"))
        case list() | tuple():
            return "list"
        case _:
            return str(value).replace(" ", "")


def _number(value: float) -> str:
    """Write a number in twelve digits, with a power of ten where that is shorter to read."""
    return f"{value:.12g}" if value == 0 or 0.01 <= abs(value) < 10_000 else power_of_ten(value)


def power_of_ten(value: float) -> str:
    """Write a number in up to twelve digits with a power of ten: ``4e11``, ``2.4e-3``."""
    digits, exponent = f"{value:.11e}".split("e")
    return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"


def axis_texts(study: Study) -> Iterator[str]:
    """Say of each axis of a study what takes which values, and where."""
    for axis in study.axes:
        yield _axis_text(axis)
    for name, variant in study.variants.items():
        for axis in variant.axes:
            yield f"{_axis_text(axis)}, in variant {name}"


def _axis_text(axis: Axis) -> str:
    fields = [f"{name}: {_listed(values)}" for name, values in axis.fields.items()]
    cells = [
        " ".join(f"{name} {value_text(value)}" for name, value in part.model_dump(exclude_none=True).items())
        for part in axis.at
    ]
    at = f", at {' or '.join(cells)}" if cells else ""
    together = " x " if axis.cross else " with "
    return together.join(fields) + at + (f" ({axis.role})" if axis.role else "")


def _listed(values: Sequence[Any]) -> str:
    shown = ", ".join("default" if value is None else value_text(value) for value in values[:SHOWN])
    return shown if len(values) <= SHOWN else f"{shown}, ... ({len(values)} values)"
