"""Sections of a spec that have no room of their own: data and recipe."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field

from scaling.corpora.kinds import WrittenCorpus
from scaling.recipe.auxiliary import Auxiliary
from scaling.recipe.optimizers import WrittenOptimizer
from scaling.recipe.parametrization import WrittenParametrization
from scaling.recipe.precision import Precision
from scaling.recipe.quantities import Count, Described
from scaling.recipe.rules import OF_HORIZON
from scaling.recipe.schedules import WrittenSchedule
from scaling.recipe.written import rules_in, scales_of
from scaling.spec.base import BatchOrRule
from scaling.spec.external import ExternalRecipe
from scaling.tokenizers.kinds import WrittenTokenizer


class Data(Described):
    """Which text, and how it is cut into tokens and sequences."""

    corpus: WrittenCorpus
    """Name of a shipped corpus, or a mapping with the kind of a corpus: text, jsonl, parquet, ..."""
    tokenizer: WrittenTokenizer | None = None
    """`bytes`, or a mapping with the kind of a tokenizer: bpe, file, ... Left out: bytes, for text."""
    context: Count
    """Tokens of context of every training and evaluation sequence."""
    separator: Literal["keep", "none"] = "keep"
    """The token before every document: keep it (it is trained on and counted in D), or join documents."""
    unique_tokens: Count | None = None
    """Train on a fixed part of so many tokens, repeated as needed; smaller parts lie within larger ones.
    Left out: on all of them."""


DECAY_ONLY = (("schedule", "decay"), ("schedule", "final_fraction"))


class Recipe(Described):
    """How every run is trained."""

    optimizer: WrittenOptimizer
    schedule: WrittenSchedule
    batch_tokens: BatchOrRule
    """Tokens a step; a multiple of data.context. Of a rule: the nearest multiple."""
    precision: Precision = "float32"
    """Of matrix products. tf32: factors rounded to 11 significant bits, on GPUs; bfloat16: to 8. Sums,
    weights, optimizer state, norms, softmax and loss are float32."""
    parametrization: WrittenParametrization = "standard"
    """How rates and initial weights go with the size: standard, or {kind: mup, base_width: 64}, or {kind:
    completep, base_width: 64, base_depth: 4}."""
    auxiliary: Auxiliary | None = None
    """Losses beside the cross-entropy, by their weights."""
    init_from: Annotated[str, Field(min_length=1)] | None = None
    """Start from these weights instead of random ones: a .safetensors file, by its path relative to the spec,
    or the run_id of a run in `results/` whose final checkpoint was kept."""
    kind: Literal["built-in"] = Field(default="built-in", exclude=True)
    """By the built-in trainer."""

    @cached_property
    def of_horizon(self) -> tuple[str, ...]:
        """The fields, but those of the decay alone, whose rules depend on the horizon."""
        return tuple(
            ".".join(map(str, place))
            for place, rule in rules_in(self)
            if place not in DECAY_ONLY and OF_HORIZON & scales_of(place, rule)
        )

    @property
    def shares_trunk(self) -> bool:
        """Whether runs that differ only in horizon are the same training up to their decay."""
        return self.schedule.shares_trunk and not self.of_horizon


def _built_in_by_default(value: Any) -> Any:
    return {"kind": "built-in", **cast(dict[str, Any], value)} if isinstance(value, dict) else value


AnyRecipe = Recipe | ExternalRecipe
WrittenRecipe = Annotated[
    Annotated[AnyRecipe, Field(discriminator="kind")],
    BeforeValidator(_built_in_by_default, json_schema_input_type=AnyRecipe),
]
