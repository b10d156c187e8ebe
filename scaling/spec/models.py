"""What a user writes. These models are the one source of truth: checks, defaults and JSON schema.

They hold what a field alone can tell; what needs two sections is in :func:`check_sections`, what
needs FLOPs or data in :mod:`scaling.plan`. Field docs become the descriptions of the JSON schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field, PrivateAttr
from pydantic.json_schema import GenerateJsonSchema

from scaling.corpora.base import DocumentCorpus
from scaling.corpora.content import HELD_OUT
from scaling.corpora.evaluation import Evaluation
from scaling.corpora.external import External
from scaling.corpora.kinds import WrittenCorpus
from scaling.corpora.mixture import Mixture
from scaling.corpora.shipped import Shipped
from scaling.recipe.auxiliary import ROUTER_LOSSES, Auxiliary
from scaling.recipe.optimizers import WrittenOptimizer
from scaling.recipe.parametrization import WrittenParametrization
from scaling.recipe.precision import Precision, unmet
from scaling.recipe.quantities import Count, Described, Duration, Slug
from scaling.recipe.rules import OF_HORIZON
from scaling.recipe.schedules import WrittenSchedule
from scaling.recipe.written import fits, known_to, rules_in, scales_of
from scaling.spec.axes import Axis, Variant
from scaling.spec.base import BatchOrRule, Seeds
from scaling.spec.designs.cells import Added, Chosen, Holdout, Noise, Replicates, WrittenNoise
from scaling.spec.designs.chosen import ChosenDesign
from scaling.spec.designs.isoflop import IsoFLOP
from scaling.spec.designs.kinds import Design
from scaling.spec.designs.varied import CriticalBatch
from scaling.spec.execution import Execution, WrittenExecution
from scaling.spec.external import ExternalRecipe
from scaling.spec.families import Family, Shapes
from scaling.spec.source import Finding, Path, Source
from scaling.spec.together import trainer_findings
from scaling.spec.trainer import CommandTrainer
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


def check_sections(sections: Mapping[str, Any], variant: str | None = None) -> list[Finding]:
    """Check the sections given, by name of the field of :class:`Study`; leave cells of other variants than
    ``variant`` out."""
    findings = list[Finding]()
    data, family, recipe = sections.get("data"), sections.get("family"), sections.get("recipe")
    findings += trainer_findings(sections)
    if family is not None:
        findings += family.findings()
    if isinstance(recipe, AnyRecipe):
        findings += rule_findings(recipe)
    if family is not None and isinstance(recipe, Recipe):
        findings += _router_losses(family, recipe)
    if isinstance(family, Shapes) and isinstance(recipe, Recipe):
        findings += _heads_of_base(family, recipe)
    if isinstance(data, Data) and isinstance(recipe, Recipe):
        findings += _batch(data, recipe)
    if isinstance(data, Data) and family is not None:
        findings += _document_masks(data, family)
    evaluation = sections.get("evaluation")
    if isinstance(evaluation, Evaluation):
        if isinstance(data, Data) and not isinstance(data.corpus, External):
            findings += _evaluation(data, evaluation)
        findings += _averages(evaluation)
    if sections.get("design") is not None:
        findings += sections["design"].findings(family)
        findings += _grown_alone(sections)
        findings += _branched(sections)
    if isinstance(sections.get("noise"), Replicates):
        findings += sections["noise"].findings()
    execution = sections.get("execution")
    if isinstance(execution, Execution):
        findings += execution.findings()
    if isinstance(recipe, Recipe) and isinstance(execution, Execution):
        findings += _device(recipe, execution)
    for cell, path in chosen_cells(sections):
        if cell.variant in (None, variant):
            findings += cell.findings(path, family)
    return list(dict.fromkeys(findings))  # what is wrong at every size is said once


def _grown_alone(sections: Mapping[str, Any]) -> Iterator[Finding]:
    """Find what makes several designs of one whose cells are chosen for a forecast, or as results come in."""
    design = sections["design"]
    if isinstance(design, IsoFLOP) and design.grows:
        chosen, instead = "design.window.center: auto is decided", "the centre by a law"
    elif isinstance(design, ChosenDesign):
        chosen, instead = f"cells of a design of kind {design.kind} are chosen", "the cells as a list"
    else:
        return
    message = f"{chosen} for one recipe and one family"
    if sections.get("variants"):
        yield Finding(("variants",), message, f"make a study of each, or give {instead}")
    for i, axis in enumerate(sections.get("axes") or ()):
        if axis.role is None:
            yield Finding(("axes", i), message, f"give it 'role: tuning', or {instead}")


def _branched(sections: Mapping[str, Any]) -> Iterator[Finding]:
    """Find what a design whose runs branch from trunks cannot be asked for."""
    design, noise = sections["design"], sections.get("noise")
    if not isinstance(design, CriticalBatch) or design.trunk_tokens is None:
        return
    if isinstance(sections.get("recipe"), ExternalRecipe):
        message, hint = "takes the built-in trainer, whose weights branches start from", "leave it out"
        yield Finding(("design", "trunk_tokens"), message, hint)
    if isinstance(noise, Replicates) and noise.init:
        message = "repeats initial weights, and branches start from those of their trunk"
        yield Finding(("noise", "init"), message, "set it to 0; 'order' repeats what branches do differ in")


def chosen_cells(sections: Mapping[str, Any]) -> list[tuple[Chosen, Path]]:
    """Return the added, noise and held-out cells of a study, which may name values and a variant, with their
    places."""
    noise = [(sections["noise"], ("noise",))] if isinstance(sections.get("noise"), Noise) else []
    lists = [
        (cell, (name, i)) for name in ("added", "holdout") for i, cell in enumerate(sections.get(name) or ())
    ]
    return [*lists, *noise]


def _batch(data: Data, recipe: Recipe) -> Iterator[Finding]:
    batch, context = recipe.batch_tokens, data.context
    if isinstance(batch, int) and batch % context:
        near = f"{batch // context * context} or " if batch > context else ""
        message = f"must be a multiple of data.context = {context}, is {batch}"
        yield Finding(("recipe", "batch_tokens"), message, f"use {near}{(batch // context + 1) * context}")


def _document_masks(data: Data, family: Family) -> Iterator[Finding]:
    for path, architecture in family.architectures() if data.separator == "none" else ():
        if architecture.document_mask:
            message = "cannot tell documents apart: data.separator is none"
            yield Finding((*path, "document_mask"), message, "set data.separator: keep, or leave it out")


def _heads_of_base(family: Shapes, recipe: Recipe) -> Iterator[Finding]:
    """Find a parametrization that does not say which of several sizes of heads the base has."""
    written, head_dims = recipe.parametrization, {shape.head_channels for shape in family.shapes}
    if written != "standard" and written.base_head_dim is None and len(head_dims) > 1:
        listed = " and ".join(map(str, sorted(head_dims)))
        message = f"needs base_head_dim: heads of the family have {listed} channels"
        hint = f"add 'base_head_dim: {min(head_dims)}', as at the size where the recipe was tuned"
        yield Finding(("recipe", "parametrization"), message, hint)


def _router_losses(family: Family, recipe: Recipe) -> Iterator[Finding]:
    routed = any(architecture.experts for _, architecture in family.architectures())
    for name in () if routed else ROUTER_LOSSES:
        if recipe.auxiliary is not None and getattr(recipe.auxiliary, name):
            message = "is about a router, and the family has no experts"
            yield Finding(("recipe", "auxiliary", name), message, "leave it out, or give family.experts")


def _device(recipe: Recipe, execution: Execution) -> Iterator[Finding]:
    needed = None if execution.device == "auto" else unmet(recipe.precision, execution.device)
    if needed:
        message = f"{needed}, and execution.device = {execution.device}"
        yield Finding(("recipe", "precision"), message, "use float32 or bfloat16, or execution.device: gpu")


def _averages(evaluation: Evaluation) -> Iterator[Finding]:
    names = [average.name for average in evaluation.averages]
    for i, name in enumerate(names):
        if name in names[:i]:
            yield Finding(("evaluation", "averages", i), f"{name} is asked for twice", "remove one of them")


def rule_findings(recipe: AnyRecipe) -> Iterator[Finding]:
    """Find rules that say nothing of their field, or use what follows from it."""
    for place, rule in rules_in(recipe):
        if not fits(place, rule):
            hint = f"it has rules for {' and '.join(rule.targets())}"
            message = f"a {rule.kind} rule has nothing to say of {place[-1]}"
            yield Finding(("recipe", *place, "kind"), message, hint)
        known = known_to(place)
        for scale in sorted(scales_of(place, rule) - {*known}):
            message = f"circular: {scale} is not known before {place[-1]} is"
            yield Finding(("recipe", *place, "of"), message, f"use {', '.join(known)}")


def _evaluation(data: Data, evaluation: Evaluation) -> Iterator[Finding]:
    names = (HELD_OUT, *evaluation.sets)
    if HELD_OUT in evaluation.sets:
        yield Finding(("evaluation", "sets", HELD_OUT), "is the name of what is held out", "use another")
    sources = data.corpus.sources if isinstance(data.corpus, Mixture) else {}
    for name in evaluation.sets.keys() & sources.keys():
        yield Finding(("evaluation", "sets", name), "is the name of a source of the mixture", "use another")
    if evaluation.target not in names:
        yield Finding(("evaluation", "target"), f"is none of the sets {', '.join(names)}", "name one of them")
    if evaluation.split == "none" and evaluation.target == HELD_OUT:
        hint = "name one of `sets` as target, or hold documents out"
        yield Finding(("evaluation", "target"), "nothing is held out with split: none", hint)
    generated = not isinstance(data.corpus, DocumentCorpus | Mixture)
    given = evaluation.model_fields_set - {"tokens", "documents", "target", "every", "averages"}
    for name in sorted(given if generated else ()):
        if getattr(evaluation, name) != type(evaluation).model_fields[name].default:
            message = f"does not apply: a {data.corpus.kind} source generates its own evaluation text"
            yield Finding(("evaluation", name), message, "leave it out")
    spread = evaluation.split == "spread" or (evaluation.split == "auto" and isinstance(data.corpus, Shipped))
    if evaluation.share != "auto" and (spread or evaluation.split == "none"):
        message = "applies to split: hash alone"
        yield Finding(("evaluation", "share"), message, "set evaluation.split: hash, or leave it out")
    if data.tokenizer is not None and data.corpus.tokenised:
        message = f"a {data.corpus.kind} corpus brings its own tokens"
        yield Finding(("data", "tokenizer"), message, "leave it out")


class _Schema(GenerateJsonSchema):
    def normalize_name(self, name: str) -> str:
        return super().normalize_name(name.partition("[")[0])  # WSD, not all that stands for its lengths

    def encode_default(self, dft: Any) -> Any:
        return str(dft) if isinstance(dft, Duration) else super().encode_default(dft)


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a spec, for editors."""
    schema = Study.model_json_schema(schema_generator=_Schema)
    return {"$schema": _Schema.schema_dialect, **schema}
