"""Numbers and durations as a spec writes them, and the base of all frozen models.

Booleans are not numbers and text is not a number: ``true`` and ``"8"`` are refused where pydantic would
take them. A whole number may be written ``1e6``.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import re
import textwrap
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, ErrorDetails, PydanticCustomError, core_schema

LARGEST_COUNT = 10**15

Unit = Literal["steps", "tokens", "%"]
NUMBER = r"(?:[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?|[0-9]+\.)"
_DURATION = re.compile(rf"\s*({NUMBER})\s*(steps?|tokens?|%)\s*", re.ASCII)
_PERCENTAGE = re.compile(rf"\s*({NUMBER})\s*%\s*", re.ASCII)


_COMPARISONS = {
    "greater_than": ("gt", "must be > {}"),
    "greater_than_equal": ("ge", "must be >= {}"),
    "less_than": ("lt", "must be < {}"),
    "less_than_equal": ("le", "must be <= {}"),
}


def bound_text(detail: ErrorDetails) -> str | None:
    """Return the bound that an error of pydantic is about, in words; None where it is about none."""
    if detail["type"] not in _COMPARISONS:
        return None
    key, text = _COMPARISONS[detail["type"]]
    return text.format(f"{detail.get('ctx', {})[key]:g}")


def _whole(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise PydanticCustomError("spec", "must be a whole number")
    return value


def _real(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PydanticCustomError("spec", "must be a number")
    try:
        return float(value) + 0.0  # -0.0 becomes 0.0: equal numbers give equal ids
    except OverflowError:
        raise PydanticCustomError("spec", "must be a number below 1e308") from None


def _fraction(value: Any) -> Any:
    percentage = _PERCENTAGE.fullmatch(value) if isinstance(value, str) else None
    if percentage is not None:
        return float(Decimal(percentage[1]) / 100)
    if isinstance(value, str):
        raise PydanticCustomError("spec", "must be a number or a percentage, such as 0.02 or '2 %'")
    return value


Whole = Annotated[int, BeforeValidator(_whole), Field(le=LARGEST_COUNT)]
Count = Annotated[Whole, Field(ge=1)]
Real = Annotated[float, BeforeValidator(_real), Field(allow_inf_nan=False)]
Positive = Annotated[Real, Field(gt=0, le=1e30)]
Fraction = Annotated[
    Real,
    Field(ge=0, le=1),
    BeforeValidator(
        _fraction,
        json_schema_input_type=Annotated[float, Field(ge=0, le=1)]
        | Annotated[str, Field(pattern=rf"^\s*{NUMBER}\s*%\s*$")],
    ),
]
SLUG = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Slug = Annotated[str, StringConstraints(pattern=SLUG)]
SHA256 = "^[0-9a-f]{64}$"
CURRENCY = "^[A-Za-z]{1,12}$"


class Frozen(BaseModel):
    """A model that never changes and has no fields but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @classmethod
    def model_parametrized_name(cls, params: tuple[type[Any], ...]) -> str:
        """Name ``WSD[DurationOrRule]`` plainly ``WSD``: in a schema there is one of each."""
        return cls.__name__

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Give ``WSD[DurationOrRule]``, and what is derived from it, the docstring of ``WSD``."""
        cls.__doc__ = cls.__doc__ or cls.__mro__[1].__doc__


class Described(Frozen):
    """A part of a spec: the docs of its fields become descriptions in the schema.

    They are read when a schema is asked for. With pydantic's ``use_attribute_docstrings`` each class would be
    looked for in its source as it is made, a third of the time in which a process starts.
    """

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core_schema)
        properties: dict[str, JsonSchemaValue] = handler.resolve_ref_schema(schema).get("properties", {})
        for model in cls.__mro__[: cls.__mro__.index(Described)]:
            for name, text in _docs_of_fields(model).items():
                if name in properties:
                    properties[name].setdefault("description", text)
        return schema


@cache
def _docs_of_fields(model: type) -> dict[str, str]:
    """The strings that follow annotated names in the source of a class; none of one that has no source of its
    own, such as ``WSD[DurationOrRule]``."""
    try:
        source = inspect.getsource(model)
    except OSError:
        return {}
    (made,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(made, ast.ClassDef)
    docs = dict[str, str]()
    for field, after in itertools.pairwise(made.body):
        match field, after:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                docs[name] = inspect.cleandoc(text)
            case _:
                pass
    return docs


@dataclass(frozen=True)
class Duration:
    """Length of training: ``80 steps``, ``1e6 tokens``, ``20 %`` of a horizon. Resolved once, by the plan."""

    value: float
    unit: Unit

    def __str__(self) -> str:
        short = f"{self.value:.12g}"
        return f"{short if float(short) == self.value else repr(self.value)} {self.unit}"

    @classmethod
    def parse(cls, text: object) -> Duration:
        """Raises PydanticCustomError: not a number with one of the three units, or more than 100 %."""
        if isinstance(text, Duration):
            return text
        match = _DURATION.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise PydanticCustomError(
                "spec", "must be a number with a unit, such as '80 steps', '1e6 tokens' or '20 %'"
            )
        value, word = float(match[1]), match[2]
        unit: Unit = "%" if word == "%" else "steps" if word.startswith("step") else "tokens"
        if value > (100 if unit == "%" else LARGEST_COUNT):
            raise PydanticCustomError(
                "spec", "must be at most 100 %" if unit == "%" else "must be at most 1e15"
            )
        return cls(value, unit)

    def in_steps(self, horizon: int, batch_tokens: float) -> int:
        """Round to whole steps, at least 1 unless the duration is 0; percent are of ``horizon``."""
        match self.unit:
            case "steps":
                exact = self.value
            case "tokens":
                exact = self.value / batch_tokens
            case "%":
                exact = self.value / 100 * horizon
        return max(1, int(exact + 0.5)) if self.value > 0 else 0

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            cls.parse, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "pattern": rf"^\s*{NUMBER}\s*(steps?|tokens?|%)\s*$"}
