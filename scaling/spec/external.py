"""What a spec says of runs by a trainer of one's own: the family, and the recipe with its free fields."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import ConfigDict, Field, StrictBool, ValidationError, model_validator

from scaling.counts.external import DEPTHS, WIDTHS, ExternalSize
from scaling.recipe.quantities import Count, Described, Slug, Whole
from scaling.recipe.rules import Rule, Scale
from scaling.recipe.written import RULE_KINDS, parsed_rule, rules_in, scales_of
from scaling.spec.base import BatchOrRule, RateOrRule, Several
from scaling.spec.explain import explain
from scaling.spec.guess import closest
from scaling.spec.source import Finding, Path
from scaling.spec.trainer import Command

LIKE = 0.8  # as near to the name of a known field, a free one is taken for a misspelling of it
RULE_FIELDS = {"of", "coefficient", "exponent", "file"}
MISSING: dict[Scale, str] = {
    "width": f"give it 'width: ...', or one of {', '.join(WIDTHS)} in its config",
    "depth": f"give it 'depth: ...', or one of {', '.join(DEPTHS)} in its config",
    "params_body": "give it params_embedding and params_head, or use params",
    "flops_body": "use flops, or params_body x tokens",
}


class StatedSize(Described):
    """One size, by the numbers that its owner states."""

    name: Slug
    """How holdout, noise and listed runs refer to this size."""
    params: Count
    """All parameters."""
    flops_per_token: Count
    """FLOPs of training on a token, forward and backward: about 6 x parameters, and attention."""
    params_embedding: Annotated[Whole, Field(ge=0)] | None = None
    """Parameters of the embedding, where they are to be told apart."""
    params_head: Annotated[Whole, Field(ge=0)] | None = None
    """Parameters of the output head; 0 where it is tied."""
    width: Count | None = None
    """For rules. Left out: `width`, `d_model`, `n_embd` or `hidden_size` of `config`."""
    depth: Count | None = None
    """For rules. Left out: `depth`, `layers`, `n_layer` or `num_hidden_layers` of `config`."""
    config: dict[str, Any] = Field(default={})
    """Whatever the trainer is to be told of the model."""
    in_design: StrictBool = True
    """false: trained only where holdout, noise or a listed run names it."""

    @model_validator(mode="before")
    @classmethod
    def _plain_config(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        fields = cast(dict[str, Any], value)
        return {**fields, "config": _plain(fields["config"])} if "config" in fields else fields

    def shape(self, vocab_size: int, context: int, separator: int | None = None) -> ExternalSize:
        """Spell out this size; only the context of the data matters."""
        same = self.model_dump(exclude={"in_design"})
        return ExternalSize(context=context, **same)

    def notes(self, context: int) -> Iterator[str]:
        """Say what a reader of the plan should know of this size."""
        if self.flops_per_token < 3 * self.params:
            times = f"{self.flops_per_token / self.params:.2g} x its parameters"
            usual = "training takes about 6 x, forward and backward, if a token uses all of them"
            yield f"flops_per_token of {self.name} are {times}: {usual}"

    def findings(self, path: Path) -> Iterator[Finding]:
        parts = (self.params_embedding or 0) + (self.params_head or 0)
        if parts > self.params:
            message = f"{self.params:,} are fewer than those of embedding and head, {parts:,}"
            yield Finding((*path, "params"), message, "it is all parameters")
        yield from _wrong_values(self.config, (*path, "config"))


class ExternalFamily(Described):
    """Sizes of a trainer of one's own: a list, or what a command prints."""

    keys: ClassVar[tuple[str, ...]] = ("name",)
    kind: Literal["external"]
    sizes: Annotated[tuple[StatedSize, ...], Several] | None = None
    """The sizes."""
    describe: Command | None = None
    """A command that prints the sizes as a JSON list. It is started in the folder of the spec by `scaling
    plan` and `scaling run`, with what the spec says of data on its standard input; its answer is kept."""

    @property
    def stated(self) -> tuple[StatedSize, ...]:
        """All sizes that are known."""
        return self.sizes or ()

    @property
    def members(self) -> tuple[str, ...]:
        return tuple(size.name for size in self.stated if size.in_design)

    def label(self, size: object) -> str:
        return str(size)

    def member(self, size: object) -> StatedSize:
        return next(one for one in self.stated if one.name == size)

    def architectures(self) -> Iterator[tuple[Path, Any]]:
        yield from ()

    def findings(self) -> Iterator[Finding]:
        if (self.sizes is None) == (self.describe is None):
            yield Finding(("family",), "needs exactly one of sizes and describe", "give the sizes once")
        names = set[str]()
        for i, size in enumerate(self.stated):
            path: Path = ("family", "sizes", i)
            if size.name in names:
                yield Finding((*path, "name"), f"'{size.name}' names two sizes", "names must differ")
            names.add(size.name)
            yield from size.findings(path)

    def size_findings(self, size: object, path: Path) -> Iterator[Finding]:
        names = [one.name for one in self.stated]
        if self.sizes is not None and size not in names:
            guess = closest(str(size), names)
            hint = f"did you mean '{guess}'?" if guess else f"known: {', '.join(names)}"
            yield Finding(path, f"no size is named '{size}'", hint)


class ExternalRecipe(Described):
    """How a trainer of one's own trains every run: fields of its own, any JSON, with rules in place of
    numbers. All of them are part of the ids of runs."""

    model_config = ConfigDict(extra="allow")

    kind: Literal["external"]
    batch_tokens: BatchOrRule
    """Tokens a step; the nearest whole number of sequences."""
    learning_rate: RateOrRule | None = None
    """Peak learning rate, for the table of runs and for rules of other fields."""

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, value: Any) -> Any:
        """Make rules of what are rules; one that is wrong stays as it is, for :meth:`findings`."""
        if not isinstance(value, dict):
            return value
        fields = cast(dict[str, Any], value)
        free = {name: _parsed(item) for name, item in fields.items() if name not in cls.model_fields}
        known = {name: item for name, item in fields.items() if name in cls.model_fields}
        return known | {name: item for name, item in free.items() if item is not None}

    @property
    def free(self) -> dict[str, Any]:
        """The fields that only the trainer knows."""
        return dict(self.model_extra or {})

    @property
    def shares_trunk(self) -> bool:
        return False

    @cached_property
    def of_horizon(self) -> tuple[str, ...]:
        return ()

    def findings(self) -> Iterator[Finding]:
        """Find values that are no JSON, rules that are none, and misspelt names."""
        yield from _wrong_values(self.free, ("recipe",))
        if self.learning_rate is None and (like := closest("learning_rate", list(self.free), LIKE)):
            hint = "did you mean 'learning_rate'?"
            yield Finding(("recipe", like), f"unknown name '{like}'", hint, at_key=True)
        for place, rule in rules_in(self):
            if self.learning_rate is None and "learning_rate" in scales_of(place, rule):
                message = "uses learning_rate, and the recipe has none"
                yield Finding(("recipe", *place, "of"), message, "add 'learning_rate: ...' to the recipe")

    def size_findings(self, sizes: Sequence[StatedSize]) -> Iterator[Finding]:
        """Find rules that use what is not stated of a size."""
        for place, rule in rules_in(self):
            for scale in sorted(scales_of(place, rule)):
                if of := unstated(scale, sizes):
                    yield Finding(("recipe", *place, "of"), *of)


def unstated(scale: Scale, sizes: Sequence[StatedSize]) -> tuple[str, str] | None:
    """Say of which sizes a quantity is not known, and what to do; None where it is of all."""
    silent = [size.name for size in sizes if scale in MISSING and not _states(size, scale)]
    if not silent:
        return None
    more = f" and {len(silent) - 1} more sizes" if len(silent) > 1 else ""
    return f"uses {scale}, which is not known of {silent[0]}{more}", MISSING[scale]


def _states(size: StatedSize, scale: Scale) -> bool:
    shape = size.shape(0, 1)
    known = {"width": shape.known_width, "depth": shape.known_depth, "params_body": shape.counts.body}
    return known.get(scale) is not None


def _plain(value: Any) -> Any:
    """Write whole numbers as such, and leave out what is null: equal values are equal as JSON."""
    match value:
        case dict():
            items = cast(dict[str, Any], value).items()
            return {name: _plain(item) for name, item in items if item is not None}
        case list() | tuple():
            return [_plain(item) for item in cast(list[Any], value)]
        case float() if value.is_integer() and abs(value) < 2**53:
            return int(value)
        case _:
            return value


def _parsed(value: Any) -> Any:
    match value:
        case dict() if (rule := parsed_rule(cast(dict[str, Any], value))) is not None:
            return rule
        case dict():
            items = cast(dict[str, Any], value).items()
            return {name: _parsed(item) for name, item in items if item is not None}
        case list() | tuple():
            return [_parsed(item) for item in cast(list[Any], value)]
        case _:
            return _plain(value)


def _wrong_values(value: Any, path: Path) -> Iterator[Finding]:
    """Find what is no JSON, and mappings that were meant as rules."""
    match value:
        case Rule() | None | bool() | int() | str():
            return
        case float():
            if not math.isfinite(value):
                yield Finding(path, f"must be a finite number, is {value}")
        case dict():
            yield from _wrong_mapping(cast(dict[str, Any], value), path)
        case list():
            for i, item in enumerate(cast(list[Any], value)):
                yield from _wrong_values(item, (*path, i))
        case _:
            hint = "use numbers, text, lists and mappings"
            yield Finding(path, f"must be plain JSON, is a {type(value).__name__}", hint)


def _wrong_mapping(value: dict[str, Any], path: Path) -> Iterator[Finding]:
    kind: Any = value.get("kind")
    kind = kind if path[0] == "recipe" and isinstance(kind, str) else ""
    if kind in RULE_KINDS:
        try:
            RULE_KINDS[kind].model_validate(value)
        except ValidationError as error:
            found = explain(error, RULE_KINDS[kind])
            for finding in found:
                yield Finding((*path, *finding.path), finding.message, finding.hint, finding.at_key)
        return
    if RULE_FIELDS & value.keys() and (guess := closest(kind, list(RULE_KINDS))):
        message = f"no rule is named '{kind}'"
        yield Finding((*path, "kind"), message, f"did you mean '{guess}'?", meant=guess)
        return
    for name, item in value.items():
        yield from _wrong_values(item, (*path, name))
