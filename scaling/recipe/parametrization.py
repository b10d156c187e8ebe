"""How numbers of a recipe that were tuned at one size, the base, are carried to other sizes.

The table of what each parametrization multiplies is :data:`scaling.model.parametrization.TABLE`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from scaling.recipe.quantities import Count, Described
from scaling.recipe.rules import any_of


class MuP(Described):
    """The maximal update parametrization (Yang et al., arXiv:2203.03466): carries a recipe from `base_width`
    to every width. Depth is as in the standard parametrization."""

    kind: Literal["mup"]
    base_width: Count
    """Width at which the recipe was tuned; there it is the standard parametrization."""
    base_head_dim: Count | None = Field(default=None, json_schema_extra={"neutral": None})
    """Channels of a head at the base: attention scores are q k sqrt(base_head_dim) / head_dim. Left out: the
    same at every size."""

    def __str__(self) -> str:
        return f"{self.kind}, base width {self.base_width}{_heads(self)}"


class CompleteP(Described):
    """CompleteP (Dey et al., arXiv:2505.01618), alpha = 1: as mup, and from `base_depth` to every depth."""

    kind: Literal["completep"]
    base_width: Count
    """Width at which the recipe was tuned."""
    base_depth: Count
    """Layers at which the recipe was tuned."""
    base_head_dim: Count | None = Field(default=None, json_schema_extra={"neutral": None})
    """Channels of a head at the base: attention scores are q k sqrt(base_head_dim) / head_dim. Left out: the
    same at every size."""

    def __str__(self) -> str:
        return f"{self.kind}, base width {self.base_width}, base depth {self.base_depth}{_heads(self)}"


def _heads(parametrization: MuP | CompleteP) -> str:
    channels = parametrization.base_head_dim
    return "" if channels is None else f", base head_dim {channels}"


def _with_base(value: Any) -> Any:
    bases = {"mup": "base_width: 64", "completep": "base_width: 64, base_depth: 4"}
    if isinstance(value, str) and value in bases:
        message = "needs its base: write {mapping}"
        raise PydanticCustomError("spec", message, {"mapping": f"{{kind: {value}, {bases[value]}}}"})
    if value != "standard" and not isinstance(value, dict | MuP | CompleteP):
        raise PydanticCustomError("spec", "must be standard, or a mapping with a kind: mup or completep")
    return value


def _tag(value: Any) -> str | None:
    match value:
        case {"kind": str(kind)} | MuP(kind=kind) | CompleteP(kind=kind):
            return kind
        case dict():
            return None
        case _:
            return "standard"


if TYPE_CHECKING:
    Parametrization = MuP | CompleteP
    WrittenParametrization = Literal["standard"] | MuP | CompleteP
else:
    Parametrization = any_of(MuP, CompleteP)
    WrittenParametrization = Annotated[
        Annotated[Literal["standard"], Tag("standard")]
        | Annotated[MuP, Tag("mup")]
        | Annotated[CompleteP, Tag("completep")],
        Discriminator(_tag),
        BeforeValidator(_with_base, json_schema_input_type=Literal["standard"] | MuP | CompleteP),
    ]


def resolved(written: WrittenParametrization, head_dim: int) -> Parametrization | None:
    """Return the parametrization of a run, None for the standard one; a base with heads like the run's own is
    the same as none given, and leaves the id the same."""
    if isinstance(written, str):
        return None
    return (
        written.model_copy(update={"base_head_dim": None}) if written.base_head_dim == head_dim else written
    )
