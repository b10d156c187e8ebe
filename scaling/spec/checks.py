"""What is wrong with a spec that takes two sections to tell, but neither FLOPs nor data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scaling.corpora.base import DocumentCorpus
from scaling.corpora.content import HELD_OUT
from scaling.corpora.evaluation import Evaluation
from scaling.corpora.external import External
from scaling.corpora.mixture import Mixture
from scaling.corpora.shipped import Shipped
from scaling.recipe.auxiliary import ROUTER_LOSSES
from scaling.recipe.precision import unmet
from scaling.recipe.written import fits, known_to, rules_in, scales_of
from scaling.spec.designs.cells import Chosen, Noise, Replicates
from scaling.spec.designs.varied import CriticalBatch
from scaling.spec.execution import Execution
from scaling.spec.external import ExternalRecipe
from scaling.spec.families import Family, Shapes
from scaling.spec.sections import AnyRecipe, Data, Recipe
from scaling.spec.source import Finding, Path
from scaling.spec.together import trainer_findings


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
        findings += _of_one_recipe(sections)
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


def _of_one_recipe(sections: Mapping[str, Any]) -> Iterator[Finding]:
    """Find what makes several designs of one whose cells are chosen for a forecast, or as results come in."""
    if sections["design"].for_one_recipe is None:
        return
    chosen, instead = sections["design"].for_one_recipe
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
    for name in ("added", "holdout"):
        for i, _ in enumerate(sections.get(name) or ()):
            message = "starts from no trunk: its tokens are not those of runs that branch from one"
            yield Finding((name, i), message, "leave it out, or design.trunk_tokens")
    if isinstance(noise, Noise):
        hint = "repeat branches: noise: {corners: [largest-longest], init: 0}"
        yield Finding(("noise",), "starts from no trunk, and the runs of the design do", hint)
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
