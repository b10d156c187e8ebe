"""A Run: one training, fully resolved, and its identity.

``run_id`` is a hash of the canonical JSON of all that changes the numbers. It does not cover device,
paths, executor, cadence, packing or sharing. ``SEMANTICS`` is raised when the numerics of training change
meaning, so that old and new results are never taken for one another.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import fields
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field

from scaling.counts.flops import Flops, training_flops
from scaling.counts.shape import Shape

SEMANTICS = 1


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class AdamW(Frozen):
    """Decoupled weight decay on ``matrix`` parameters only; update = -rate x (direction + decay x weight)."""

    kind: Literal["adamw"] = "adamw"
    learning_rate: float
    weight_decay: float
    b1: float
    b2: float
    eps: float
    clip_norm: float


class WSD(Frozen):
    """Warmup, constant rate, decay to 0 over the last ``decay_steps`` (Hu et al., arXiv:2404.06395)."""

    kind: Literal["wsd"] = "wsd"
    warmup_steps: int
    decay_steps: int
    shape: Literal["linear", "1-sqrt", "cosine"]


class Cosine(Frozen):
    """Warmup, then half a cosine from the peak to ``final_fraction`` of it at the last step."""

    kind: Literal["cosine"] = "cosine"
    warmup_steps: int
    final_fraction: float


class Linear(Frozen):
    """Warmup, then a line from the peak to ``final_fraction`` of it at the last step."""

    kind: Literal["linear"] = "linear"
    warmup_steps: int
    final_fraction: float


class Constant(Frozen):
    """Warmup, then the peak rate."""

    kind: Literal["constant"] = "constant"
    warmup_steps: int


Schedule = Annotated[WSD | Cosine | Linear | Constant, Field(discriminator="kind")]


class Data(Frozen):
    """Which tokens: ``fingerprint`` covers corpus bytes, tokenizer and the split of train and evaluation."""

    kind: Literal["corpus"] = "corpus"
    corpus: str
    tokenizer: str
    fingerprint: str


class Run(Frozen):
    """One training, fully resolved: no rules, no ``auto`` left."""

    kind: Literal["run"] = "run"
    semantics: int = SEMANTICS
    shape: Shape
    data: Data
    optimizer: AdamW
    schedule: Schedule
    batch_sequences: int
    steps: int
    precision: Literal["float32"] = "float32"
    seed: int

    @property
    def batch_tokens(self) -> int:
        return self.batch_sequences * self.shape.context

    @property
    def tokens(self) -> int:
        return self.steps * self.batch_tokens

    def flops(self) -> Flops:
        return training_flops(self.shape, self.steps * self.batch_sequences)

    @property
    def branch_step(self) -> int:
        """Steps before the run's learning rate depends on its horizon (0: from the start)."""
        match self.schedule:
            case WSD():
                return self.steps - self.schedule.decay_steps
            case Constant():
                return self.steps
            case _:
                return 0


def canonical_json(value: BaseModel | dict[str, Any]) -> str:
    """The hashed bytes: sorted keys, no spaces; fields at their declared neutral value left out.

    A field added to a model after ids were given out declares ``json_schema_extra={"neutral": value}`` (one
    of :class:`Shape`, ``metadata={"neutral": value}``); while it has that value it leaves ids as they were.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        out = dict[str, Any]()
        for name, info in type(value).model_fields.items():
            extra, item = info.json_schema_extra, getattr(value, name)
            if isinstance(extra, dict) and "neutral" in extra and item == extra["neutral"]:
                continue
            out[name] = _plain(item)
        return out
    if isinstance(value, Shape):
        neutral = {f.name: f.metadata["neutral"] for f in fields(value) if "neutral" in f.metadata}
        return {k: v for k, v in vars(value).items() if k not in neutral or v != neutral[k]}
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in cast(dict[str, Any], value).items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in cast(list[Any], value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} cannot be part of an identity: numbers must be finite")
    return value


def short_hash(value: BaseModel | dict[str, Any]) -> str:
    """First 12 hex digits of the sha256 of the canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:12]


def run_id(run: Run) -> str:
    return short_hash(run)


def trunk_id(run: Run) -> str:
    """Runs with equal trunk ids are the same training up to the smaller of their branch steps.

    Only schedules with a constant-rate trunk share; for the others the trunk is the run itself.
    """
    if not isinstance(run.schedule, WSD | Constant):
        return run_id(run)
    plain = _plain(run)
    del plain["steps"]
    plain["schedule"] = {"kind": "trunk", "warmup_steps": run.schedule.warmup_steps}
    return short_hash({"kind": "trunk", "run": plain})
