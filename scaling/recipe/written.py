"""What a spec writes where a run has numbers: the same classes with rules in them, and back.

:func:`with_rules` makes the class of a spec from that of a run, so that an optimizer is written once.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, Discriminator, Field, Tag, TypeAdapter, ValidationError, create_model
from pydantic.fields import FieldInfo

from scaling.recipe.published import PUBLISHED
from scaling.recipe.quantities import LARGEST_COUNT, Duration, bound_text
from scaling.recipe.rules import SCALES, DurationRule, PowerRule, Rule, Scale, Scales, any_of, by_kind
from scaling.recipe.tuned import Tuned

M = TypeVar("M", bound=BaseModel)
Place = tuple[str | int, ...]
SMALLEST, LARGEST = 1e-12, 1e6  # values of a rule; others are a mistake in its exponent
AnyRule = any_of(PowerRule, *PUBLISHED, Tuned)
RULE_KINDS: dict[str, type[Rule]] = by_kind(get_args(AnyRule)[0])


class RuleError(ValueError):
    """A rule that gives no number that the field at ``place`` can have."""

    def __init__(self, place: Place, message: str, hint: str = "check its coefficient and exponents"):
        super().__init__(message)
        self.place, self.hint = place, hint


def _number_or_rule(value: Any) -> str:
    return "rule" if isinstance(value, dict | Rule) else "number"


def _duration_or_rule(value: Any) -> str:
    return "rule" if isinstance(value, dict | Rule) else "duration"


def or_rule(number: Any) -> Any:
    """Return the type of what may be a number, with its bounds, or a rule."""
    return Annotated[
        Union[Annotated[number, Tag("number")], Annotated[AnyRule, Tag("rule")]],  # noqa: UP007
        Discriminator(_number_or_rule),
    ]


DurationOrRule = Annotated[
    Annotated[Duration, Tag("duration")] | Annotated[DurationRule, Tag("rule")],
    Discriminator(_duration_or_rule),
]


def with_rules(model: type[M]) -> type[M]:
    """Derive the class of a spec: every field that is a real number may be a rule, in models of it too."""
    fields = dict[str, Any]()
    for name, info in model.model_fields.items():
        written = _written(info)
        if written is not None:
            default = {} if info.is_required() else {"default": info.default}
            fields[name] = (written, Field(**default))
    derived: Any = create_model(model.__name__, __base__=model, __module__=model.__module__, **fields)
    return derived


def _written(info: FieldInfo) -> Any:
    """Return the type in a spec of a field of a run; None where it is the same."""
    annotation: Any = info.annotation
    optional = get_origin(annotation) in (Union, UnionType) and type(None) in get_args(annotation)
    if optional:
        (annotation,) = (part for part in get_args(annotation) if part is not type(None))
    kind = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    if kind is float:
        written = or_rule(Annotated[annotation, *info.metadata] if info.metadata else annotation)
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        written = with_rules(kind)
    else:
        return None
    return written | None if optional else written


def parsed_rule(written: dict[str, Any]) -> Rule | None:
    """Return the rule that a mapping is; None where it is none, or not a right one."""
    kind = written.get("kind")
    if not isinstance(kind, str) or kind not in RULE_KINDS:
        return None
    try:
        return RULE_KINDS[kind].model_validate(written)
    except ValidationError:
        return None


def rules_in(part: Any, place: Place = ()) -> Iterator[tuple[Place, Rule]]:
    """Give the rules of a model of a spec and of what is in it, each with its place."""
    match part:
        case Rule():
            yield place, part
        case BaseModel():
            for name, value in part:
                yield from rules_in(value, (*place, name))
        case dict():
            for name, value in cast(dict[str, Any], part).items():
                yield from rules_in(value, (*place, name))
        case list():
            for i, value in enumerate(cast(list[Any], part)):
                yield from rules_in(value, (*place, i))
        case _:
            return


def target_of(place: Place) -> str:
    """Return what a rule at a place of the recipe is about: the name of the field; of a role's learning
    rate, ``learning_rate``."""
    named = [part for part in place if isinstance(part, str)]
    return "learning_rate" if "learning_rates" in named else named[-1]


def fits(place: Place, rule: Rule) -> bool:
    """Tell whether a rule says anything of the field at a place."""
    return not rule.targets() or target_of(place) in rule.targets()


def scales_of(place: Place, rule: Rule) -> frozenset[Scale]:
    """Return the quantities that the field at a place follows from; none where the rule does not fit it."""
    return rule.uses(target_of(place)) if fits(place, rule) else frozenset()


def known_to(place: Place) -> tuple[Scale, ...]:
    """Return the quantities that are known before the field at a place of the recipe is."""
    later: dict[Place, set[Scale]] = {
        ("batch_tokens",): {"batch_tokens", "learning_rate"},
        ("optimizer", "learning_rate"): {"learning_rate"},
        ("learning_rate",): {"learning_rate"},
    }
    return tuple(scale for scale in SCALES if scale not in later.get(place, set()))


def with_numbers(model: BaseModel, scales: Scales, place: Place = ()) -> dict[str, Any]:
    """Return the fields of a model with their rules made numbers and durations.

    Raises:
        RuleError: a rule gives a number that is out of all bounds.
    """
    fields = dict[str, Any](model)
    for name, value in model:
        at = (*place, name)
        if isinstance(value, DurationRule):
            fields[name] = _duration(value, scales, at)
        elif isinstance(value, Rule):
            fields[name] = number(value, scales, at)
        elif isinstance(value, BaseModel):
            fields[name] = with_numbers(value, scales, at)
    return fields


def free_numbers(value: Any, scales: Scales, place: Place) -> Any:
    """Copy a field of somebody's own recipe with its rules made numbers.

    Raises:
        RuleError: a rule gives a number that is out of all bounds.
    """
    match value:
        case Rule():
            exact = number(value, scales, place, LARGEST_COUNT)
            return int(exact) if exact.is_integer() else exact
        case dict():
            items = cast(dict[str, Any], value).items()
            return {name: free_numbers(item, scales, (*place, name)) for name, item in items}
        case list():
            items = enumerate(cast(list[Any], value))
            return [free_numbers(item, scales, (*place, i)) for i, item in items]
        case _:
            return value


def number(rule: Rule, scales: Scales, place: Place, largest: float = LARGEST) -> float:
    """Evaluate a rule that :func:`fits` its place.

    Args:
        rule: of the field.
        scales: quantities that it may use.
        place: of the field in its section.
        largest: value that is no mistake.

    Raises:
        RuleError: the value is not between 1e-12 and ``largest``.
    """
    value = rule.powers(target_of(place)).at(scales)
    if not SMALLEST <= value <= largest:
        raise RuleError(place, f"the rule gives {value:g}, not between {SMALLEST:g} and {largest:g}")
    return value


def _duration(rule: DurationRule, scales: Scales, place: Place) -> Duration:
    largest = 100 if rule.unit == "%" else 1e15
    return Duration(number(rule, scales, place, largest), rule.unit)


def checked(adapter: TypeAdapter[M], fields: dict[str, Any]) -> M:
    """Make the model of a run from fields that may be values of rules.

    Raises:
        RuleError: a value is outside the bounds of its field.
    """
    try:
        return adapter.validate_python(fields)
    except ValidationError as error:
        detail = error.errors(include_url=False)[0]
        place = tuple(str(part) for part in detail["loc"][1:])  # without the kind
        raise RuleError(place, f"the rule gives {detail['input']:g}, which {bound_text(detail)}") from None
