"""What a user writes. These models are the one source of truth: checks, defaults and JSON schema.

They hold what a field alone can tell; what needs two sections is in :mod:`scaling.spec.checks`, what
needs FLOPs or data in :mod:`scaling.plan`. Field docs become the descriptions of the JSON schema.
"""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated, Any

from pydantic import Field, PrivateAttr
from pydantic.json_schema import GenerateJsonSchema

from scaling.corpora.evaluation import Evaluation
from scaling.recipe.quantities import Described, Duration, Slug
from scaling.spec.axes import Axis, Variant
from scaling.spec.base import Seeds
from scaling.spec.checks import check_sections
from scaling.spec.designs.cells import Added, Holdout, WrittenNoise
from scaling.spec.designs.kinds import Design
from scaling.spec.execution import Execution, WrittenExecution
from scaling.spec.families import Family
from scaling.spec.sections import Data, WrittenRecipe
from scaling.spec.source import Finding, Source
from scaling.spec.trainer import CommandTrainer


class Study(Described):
    """A scaling-law study: a family of models, data, a recipe and a design of runs."""

    study: Slug
    """Name of the study and of its results folder."""
    data: Data
    family: Family
    recipe: WrittenRecipe
    trainer: CommandTrainer | None = None
    """A trainer of one's own: family, recipe and corpus are of kind external then. Left out: the built-in
    one."""
    design: Design
    seeds: Seeds = (0,)
    """Every fitted run is trained with each of these: a number, or {init: 0, order: 1}."""
    axes: tuple[Axis, ...] = ()
    """Fields that take several values, in every variant."""
    variants: dict[Slug, Variant] = Field(default_factory=dict)
    """Named sets of changes; the whole design is trained in each, and they are compared."""
    added: Annotated[tuple[Added, ...], Field(max_length=1000)] = ()
    """Runs beside the design, fitted like its own (role fit)."""
    noise: WrittenNoise | None = None
    """Repetitions of one cell, or of corners of the design (role noise); fits leave them out."""
    holdout: Annotated[tuple[Holdout, ...], Field(max_length=1000)] = ()
    """Runs to forecast (role holdout); fits leave them out."""
    evaluation: Evaluation = Evaluation()
    """What is held out of training, and which losses are measured."""
    execution: WrittenExecution = Execution()
    folder: str | None = None
    """What relative paths in the spec are relative to; left out: the folder that the spec lies in."""

    _source: Source = PrivateAttr(default_factory=Source)

    def findings(self) -> list[Finding]:
        """Find what is wrong that one field alone cannot tell, but without FLOPs and data."""
        return check_sections({name: getattr(self, name) for name in type(self).model_fields})

    @property
    def source(self) -> Source:
        """Where each field was written; empty for a study built in Python."""
        return self._source

    @property
    def commands_folder(self) -> FilePath:
        """Where commands that the spec names are started."""
        named = self.trainer.folder if self.trainer else None
        return (self.source.folder / (named or "")).absolute()


class _Schema(GenerateJsonSchema):
    def normalize_name(self, name: str) -> str:
        return super().normalize_name(name.partition("[")[0])  # WSD, not all that stands for its lengths

    def encode_default(self, dft: Any) -> Any:
        return str(dft) if isinstance(dft, Duration) else super().encode_default(dft)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a spec, for editors."""
    schema = Study.model_json_schema(schema_generator=_Schema)
    return {"$schema": _Schema.schema_dialect, **schema}
