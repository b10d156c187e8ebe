"""The files between this package and a trainer of one's own: ``run.json`` in, ``metrics.jsonl`` and
``result.json`` out. What a command writes is checked against what it was asked for."""

from __future__ import annotations

import json
import math
import re
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from scaling.errors import Complaint, UserError
from scaling.recipe.quantities import Count, Described, Positive, Real, Whole
from scaling.store.documents import Id

METRICS, RESULT, CHECKPOINTS = "metrics.jsonl", "result.json", "checkpoints"
M = TypeVar("M", bound=BaseModel)
LONGEST = 1 << 20  # bytes of a line, and of a result
MOST = 200  # numbers of a row, columns of a result
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_./@+-]{0,99}")
TEXT = 1000  # characters of a column
LARGEST = 10**18  # of a whole number in a column
HINT = "see docs/reference/external.md"


def _number(value: Any) -> Any:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise PydanticCustomError("external", "must be a number")
    return value


def _plain(value: Any) -> Any:
    if not isinstance(value, bool | int | float | str | None):
        raise PydanticCustomError("external", "must be a number, a text, true, false or null")
    if isinstance(value, int) and abs(value) > LARGEST:
        raise PydanticCustomError("external", "must be a number of at most 18 digits, or one with a point")
    if isinstance(value, str) and len(value) > TEXT:
        raise PydanticCustomError("external", "must have at most {most} characters", {"most": TEXT})
    return value


AnyNumber = Annotated[float, BeforeValidator(_number)]
Value = Annotated[float | None, BeforeValidator(_number)]
Column = Annotated[
    Any, BeforeValidator(_plain), WithJsonSchema({"type": ["number", "string", "boolean", "null"]})
]


class Open(BaseModel):
    """Known fields, and others under names that a table can have."""

    model_config = ConfigDict(frozen=True, extra="allow", use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            raise PydanticCustomError("external", "must be an object: {...}")
        if len(given) > MOST:
            raise PydanticCustomError("external", "must have at most {most} fields", {"most": MOST})
        if wrong := [name for name in given if not NAME.fullmatch(name)]:
            rule = "the name {name} must have letters, digits and _ . / @ + - alone"
            raise PydanticCustomError("external", rule, {"name": wrong[0][:100]})
        return given


class Paths(Described):
    """Where the command writes; all absolute."""

    out: str
    """Its folder, ``{out}`` of argv."""
    metrics: str
    """``metrics.jsonl``: append a line of JSON each time there is something to tell."""
    result: str
    """``result.json``: the last thing to write, whole or not at all (write beside it, then rename)."""
    checkpoints: str
    """A folder of the command's own: kept from one start to the next where ``trainer.resume`` is true."""


class Size(Described):
    """The model, as ``family.sizes`` has it."""

    name: str
    params: Count
    """Trained parameters, embeddings included."""
    flops_per_token: Positive
    """Of a training step, forward and backward."""
    config: dict[str, Any]
    """What the spec says of the model: free fields."""


class RunFile(Described):
    """``run.json``: what the command is asked to train."""

    model_config = ConfigDict(title="run.json")
    schema_version: Literal[1] = Field(default=1, alias="schema")
    run_id: Id
    """Hash of all that changes the numbers. ``result.json`` must repeat it."""
    start: Count
    """Which start of this run: grows with each. ``result.json`` may repeat it."""
    resumed: bool
    """Whether ``paths.checkpoints`` has what an earlier start left."""
    study: str
    label: str
    size: Size
    data: dict[str, Any]
    """``data.corpus`` of the spec, with all its ``tokens``."""
    context: Count
    steps: Count
    """To be trained, those of earlier starts included."""
    batch_sequences: Count
    batch_tokens: Count
    """``batch_sequences * context``."""
    tokens: Count
    """``steps * batch_tokens``."""
    learning_rate: Real | None
    """Of the recipe; None where it has none."""
    schedule: Any
    """Of the recipe, as the spec has it; None where it has none."""
    recipe: dict[str, Any]
    """All fields of the recipe, rules resolved for this size and horizon."""
    seed: Whole
    """Of initial weights."""
    order: Whole
    """Seed of the order of data."""
    evaluate_at: tuple[Count, ...]
    """Steps after which the study asks for an evaluation along the way."""
    checkpoint_seconds: Positive
    """How often the study wants checkpoints."""
    paths: Paths


class MetricsRow(Open):
    """A line of ``metrics.jsonl``. Any other numbers may stand beside these, by names with a slash."""

    model_config = ConfigDict(title="a line of metrics.jsonl")
    __pydantic_extra__: dict[str, Value] = Field(init=False)

    step: Count
    """Steps done, from 1. It never decreases, except that a new start goes on from its checkpoint."""
    tokens: Whole | None = None
    """``step * batch_tokens``; may be left out."""
    train_loss: Value = Field(default=None, alias="train/loss")
    """Nats per token. NaN is taken as null."""
    eval_loss: Value = Field(default=None, alias="eval/loss")
    """Nats per token of held-out text."""

    @property
    def values(self) -> dict[str, float | None]:
        """All numbers but step and tokens; None for those that are not finite."""
        given = self.model_dump(by_alias=True, exclude_unset=True, exclude={"step", "tokens"})
        return {name: _finite(value) for name, value in given.items()}

    @property
    def train(self) -> float | None:
        return _finite(self.train_loss)


class ResultFile(Open):
    """``result.json``: how the run ended. Any other fields become columns of the table of runs."""

    model_config = ConfigDict(title="result.json")
    __pydantic_extra__: dict[str, Column] = Field(init=False)

    run_id: str
    """That of ``run.json``."""
    start: Whole | None = None
    """That of ``run.json``; may be left out."""
    status: Literal["ok", "diverged"] = "ok"
    status_reason: Annotated[str, StringConstraints(max_length=1000)] | None = None
    loss: AnyNumber | None
    """Held-out loss in nats per token after the last step; null where the run diverged. NaN is divergence."""
    steps: Whole | None = None
    """Steps trained; may be left out."""
    tokens: Whole | None = None
    """Tokens trained; may be left out."""
    loss_se: Annotated[Real, Field(ge=0)] | None = None
    """Standard error of ``loss`` over the held-out documents."""
    eval_tokens: Count | None = None
    """Tokens that ``loss`` is the mean of."""
    bits_per_byte: Real | None = None
    train_loss: Real | None = None
    tokens_per_second: Positive | None = None
    mfu: Positive | None = None
    peak_memory_bytes: Count | None = None
    device: Annotated[str, StringConstraints(max_length=100)] | None = None

    @model_validator(mode="after")
    def _loss_unless_diverged(self) -> Self:
        if self.loss is None and self.status == "ok":
            raise PydanticCustomError("external", 'loss = null: must be a number where status is "ok"')
        return self

    @property
    def divergence(self) -> str | None:
        """Why the run counts as diverged; None where it does not."""
        if self.status == "diverged":
            return self.status_reason or "said so"
        assert self.loss is not None
        return None if math.isfinite(self.loss) else f"loss = {self.loss}"

    @property
    def columns(self) -> dict[str, float | int | str | bool | None]:
        """Further fields; None for numbers that are not finite."""
        return {name: _finite(value) for name, value in self.__pydantic_extra__.items()}


FILES: dict[str, type[BaseModel]] = {"run.json": RunFile, METRICS: MetricsRow, RESULT: ResultFile}


def json_schemas() -> dict[str, Any]:
    """Return the JSON schema of each file, by its name; that of ``metrics.jsonl`` is of one line."""
    return {name: model.model_json_schema(by_alias=True) for name, model in FILES.items()}


def read_row(line: bytes, asked: RunFile, last: int, where: str) -> MetricsRow:
    """Check a line of ``metrics.jsonl``.

    Args:
        line: its bytes.
        asked: the run.
        last: the step of the line before it, of the same start.
        where: file and line, for messages.

    Raises:
        UserError: it is no row, or not one of this run.
    """
    row = _checked(MetricsRow, line, where)
    if row.step > asked.steps:
        hint = "stop at `steps`; of a longer run the spec must know"
        raise _wrong(where, "step", row.step, f"run.json asks for {asked.steps} steps", hint)
    if row.step < last:
        hint = "write rows in order of steps, from one process"
        raise _wrong(where, "step", row.step, f"the row before it has step {last}", hint)
    _require_tokens(where, row.tokens, row.step, asked)
    return row


def read_result(content: bytes, asked: RunFile, where: str) -> ResultFile:
    """Check a ``result.json``.

    Args:
        content: its bytes.
        asked: the run.
        where: the file, for messages.

    Raises:
        UserError: it is no result, or not that of this run.
    """
    result = _checked(ResultFile, content, where)
    own = "copy it from run.json, and write into the folder that run.json names"
    if result.run_id != asked.run_id:
        raise _wrong(where, "run_id", result.run_id, f"this run is {asked.run_id!r}", own)
    if result.start not in (None, asked.start):
        raise _wrong(where, "start", result.start, f"this is start {asked.start} of the run", own)
    if result.divergence is None:
        if result.steps not in (None, asked.steps):
            hint = "train as many, or say that it diverged"
            raise _wrong(where, "steps", result.steps, f"run.json asks for {asked.steps}", hint)
        _require_tokens(where, result.tokens, asked.steps, asked)
    return result


def _require_tokens(where: str, tokens: int | None, step: int, asked: RunFile) -> None:
    if tokens not in (None, step * asked.batch_tokens):
        rule = f"step {step} of batches of {asked.batch_tokens} tokens is {step * asked.batch_tokens}"
        raise _wrong(where, "tokens", tokens, rule, "train on such batches, or leave tokens out")


def _wrong(where: str, field: str, value: Any, rule: str, hint: str) -> UserError:
    return UserError(Complaint(f"{field} = {value!r}, but {rule}", where, hint))


def _checked(model: type[M], content: bytes, where: str) -> M:
    if len(content) > LONGEST:
        raise UserError(Complaint(f"has {len(content)} bytes: must be at most {LONGEST}", where, HINT))
    try:
        return model.model_validate(json.loads(content))
    except ValidationError as error:
        items = error.errors(include_url=False, include_context=False)
        raise UserError(*[Complaint(_text(item), where, HINT) for item in items]) from None
    except (ValueError, RecursionError) as error:
        shown = content[:80].decode(errors="replace").strip()
        raise UserError(Complaint(f"{shown!r} is no JSON: {error}", where, HINT)) from None


def _text(item: Any) -> str:
    """Say what is wrong with a field: its value and what it must be."""
    field, message = ".".join(map(str, item["loc"])), item["msg"].replace("Input should", "must")
    if item["type"] == "missing":
        return f"{field}: is missing"
    shown = json.dumps(item["input"])
    shown = shown if len(shown) <= 60 else f"{shown[:60]}..."
    return f"{field} = {shown}: {message}" if field else message


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
