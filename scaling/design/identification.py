"""What the fitted runs of a plan can identify, and what would help."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError, plural
from analysis.fits.bootstrap import FEW
from analysis.laws.law import Law
from analysis.laws.lookup import LAW
from analysis.planning.expectation import Expected
from analysis.planning.expected import expect
from analysis.planning.help import Goal, Help
from analysis.planning.prior import UNIQUE, Prior
from analysis.planning.seeds import ExpectedNoise, noise_text
from analysis.planning.shop import Shop
from analysis.planning.simulate import Simulated, simulate
from analysis.planning.statement import expected_text, help_text, simulated_text
from analysis.planning.target import Target
from scaling.design.batches import BatchStatement, batch_statement
from scaling.design.following import SHARE
from scaling.design.foreseen import foreseen
from scaling.design.priors import priors, without_batch
from scaling.design.proposal import too_far
from scaling.design.reached import ForeseenWidth, foreseen_width
from scaling.design.seeds import noise_of_plan
from scaling.design.tables import cells_of, inputs_of, offered, table_of, targets_of
from scaling.design.wish import REPEATED, Asked
from scaling.plan.design_warnings import compares_recipes, design_warnings
from scaling.plan.plan import Plan, PlannedRun
from scaling.plan.repetition import on_purpose, read_more, times_text
from scaling.plan.warnings import has_long_warmup
from scaling.spec.designs.chosen import Adaptive, Optimal
from scaling.spec.designs.varied import CriticalBatch
from scaling.spec.models import Study

REACH = 4.0  # times the largest run of the design
MOST = 1500  # runs, beside which more are not priced


@dataclass(frozen=True)
class Identification:
    """What the fitted runs of a plan, of each variant, can identify of each law; what simulated studies say;
    and what would help; ``dropped`` of its runs a fit leaves out, as their warmup is long; ``doubts`` of
    what is assumed; ``foreseen``: what is assumed of runs that results decide; ``batches``: what a design of
    several batches says of the critical one; ``noise``: how well that between seeds will be known;
    ``width``: what is foreseen of the width at which rounds are to stop."""

    statements: tuple[tuple[str | None, Expected], ...] = ()
    simulated: tuple[Simulated, ...] = ()
    helps: tuple[Help, ...] = ()
    labels: Mapping[int, str] = field(default_factory=dict[int, str])
    flops: float = 0.0
    dropped: int = 0
    doubts: tuple[str, ...] = ()
    foreseen: str | None = None
    batches: BatchStatement | None = None
    noise: ExpectedNoise | None = None
    width: ForeseenWidth | None = None

    @property
    def text(self) -> str:
        parts = [f"What results will decide is foreseen here: {self.foreseen}"] * bool(self.foreseen)
        parts += [self.batches.text] if self.batches else []
        parts += (
            (f"variant {name}: " if name else "") + expected_text(found) for name, found in self.statements
        )
        parts += [self.width.text] if self.width else []
        parts += (f"warning: {doubt}" for doubt in self.doubts)
        parts += map(simulated_text, self.simulated)
        parts += [noise_text(self.noise)] if self.noise else []
        laws = list(dict.fromkeys(found.prior.law.name for _, found in self.statements))
        if self.helps and len(laws) > 1:
            parts.append(f"What would help is by {laws[0]}, the first of the laws.")
        parts += [help_text(found, self.labels, self.flops) for found in self.helps]
        return "\n\n".join(parts)

    def to_json(self) -> dict[str, Any]:
        helps = [
            found.to_dict() | {"labels": [self.labels[run.offer] for run in found.runs]}
            for found in self.helps
        ]
        return {
            "expected": [{"variant": name, **found.to_dict()} for name, found in self.statements],
            "simulated": [found.to_dict() for found in self.simulated],
            "help": helps,
            "left_out": self.dropped,
            "doubts": list(self.doubts),
            "foreseen": self.foreseen,
            "width": self.width.to_json() if self.width else None,
            "noise": self.noise.to_dict() if self.noise else None,
            "critical_batch": self.batches.to_json() if self.batches else None,
        }


def identification(study: Study, plan: Plan, asked: Asked | None = None) -> Identification | None:
    """Say what the fitted runs of a plan can identify, with those that results are to decide; None where
    there are none, or these cannot be foreseen. A prior and noise that are not asked for are those of the
    design.

    Raises:
        AnalysisError: a law or a prior is not known, or says nothing at these runs.
        UserError: the file of a prior is none.
    """
    asked = (asked or Asked()).about(study)
    whole = foreseen(study, plan, asked)
    if whole is None:
        return None
    named, study, plan = plan.by_id, whole.study, whole.plan
    asked = asked.fitting(plan)
    planned = [run for run in plan.runs if run.role == "fit"]
    if not planned:
        return None
    batches, noise = None, noise_of_plan(plan)
    if isinstance(study.design, CriticalBatch):
        batches = batch_statement(plan, planned, asked)
        if not asked.laws and asked.compute is None:
            return Identification(batches=batches, noise=noise)
        asked = replace(asked, prior=without_batch(asked.prior)[1])
    fitted = [run for run in planned if not has_long_warmup(run)] or planned
    statements, simulated = list[tuple[str | None, Expected]](), list[Simulated]()
    doubts = [*whole.doubts, *(w.text for w in design_warnings(plan) if whole.assumed)]
    if len(fitted) < len(planned):
        doubts += _unnamed([run for run in planned if has_long_warmup(run) and run.run_id not in named])
    chosen_for = study.design.compute if isinstance(study.design, Optimal | Adaptive) else None
    targets, variants = targets_of(plan, asked.compute, chosen_for), _variants(fitted)
    tables = {name: table_of(runs) for name, runs in variants.items()}
    for name, table in tables.items():
        for prior in priors(asked, table):
            known = [one for one in targets if asked.compute or one.known_to(prior.law)]
            found = expect(prior, table, known)
            statements.append((name, found))
            doubts += _few_clusters(found)
            doubts += [*_other_loss(prior, variants[name]), *_repeated(prior.law, variants[name])]
            doubts += too_far({"C": found.extrapolation})
            if asked.simulate:
                simulated.append(simulate(prior, table, known, asked.simulate))
    (first, runs), *_ = variants.items()
    table = tables[first]
    there = [run for run in planned if run.variant == first]
    width = _width(study, table, asked)
    helps, labels = tuple[Help, ...](), dict[int, str]()
    for_another = not asked.laws and asked.compute is None and compares_recipes(plan)
    if not (for_another and statements[0][1].reason):
        helps, labels = _helpful(study, runs, there, statements[0][1], table, targets[0])
    return Identification(
        tuple(statements), tuple(simulated), helps, labels, float(sum(run.flops for run in there)),
        len(planned) - len(fitted), tuple(dict.fromkeys(doubts)), whole.assumed, batches, noise, width,
    )  # fmt: skip


def _width(study: Study, table: pd.DataFrame, asked: Asked) -> ForeseenWidth | None:
    """What is foreseen of the width at which rounds stop, by the law that they are chosen by."""
    design = study.design
    if not isinstance(design, Adaptive) or design.width is None:
        return None
    return foreseen_width(design, design.width, priors(replace(asked, laws=(LAW,)), table)[0], table)


def _unnamed(dropped: list[PlannedRun]) -> Iterator[str]:
    """Say of runs that fits leave out what a plan says of those that it has."""
    if dropped:
        have = "has" if len(dropped) == 1 else "have"
        yield (
            f"{plural(len(dropped), 'run')} of what results will decide {have} a long warmup: fits leave "
            f"{'it' if len(dropped) == 1 else 'them'} out"
        )


def _few_clusters(found: Expected) -> Iterator[str]:
    """Say where runs share noise so much that a fit will not trust its own intervals."""
    if found.clusters < FEW:
        yield (
            f"{plural(found.clusters, 'cluster')} by {found.by}: with fewer than {FEW}, widths of a fit's "
            "intervals are unreliable; train more sizes, or other seeds"
        )


def _repeated(law: Law, runs: list[PlannedRun]) -> Iterator[str]:
    """Say where a law that is asked for counts tokens as new that runs read again on purpose; of others a
    plan warns."""
    again = [run for run in runs if run.epochs > 1 and on_purpose(run)]
    if again and UNIQUE not in law.inputs:
        worst = max(again, key=lambda run: run.epochs)
        yield (
            f"{read_more(len(again), len(runs), 1)}, "
            f"{worst.label} {times_text(worst.epochs)} times, and {law.name} counts every token as "
            f"new; {REPEATED}, which is judged without --law, does not"
        )


def _other_loss(prior: Prior, runs: list[PlannedRun]) -> Iterator[str]:
    """Say where a prior is of another loss than that of runs: above what guessing among all tokens has."""
    own = [run for run in runs if not run.is_external]
    if not own or {*prior.law.inputs} != {"N", "D"}:
        return
    losses = prior.losses(inputs_of(own))
    worst = own[int(np.argmax(losses))]
    guessing = math.log(worst.built_in.shape.vocab_size)
    if losses.max() > guessing:
        yield (
            f"the prior has a loss of {losses.max():.4g} at {worst.label}, where guessing among the "
            f"{worst.built_in.shape.vocab_size} tokens has {guessing:.3g}: it is not of such runs, and what "
            "is expected may be far off; give --prior of such data, or the JSON of a fit"
        )


def _variants(runs: Iterable[PlannedRun]) -> dict[str | None, list[PlannedRun]]:
    """The runs of each variant; one that has the runs of another is left out, as the same is expected."""
    found, seen = dict[str | None, list[PlannedRun]](), set[Any]()
    for run in runs:
        found.setdefault(run.variant, []).append(run)
    for name, of_variant in list(found.items()):
        same = tuple(sorted((run.params, run.run.tokens, run.run.seed) for run in of_variant))
        if same in seen:
            del found[name]
        seen.add(same)
    return found


def _helpful(
    study: Study,
    fitted: list[PlannedRun],
    there: list[PlannedRun],
    stated: Expected,
    table: pd.DataFrame,
    target: Target,
) -> tuple[tuple[Help, ...], dict[int, str]]:
    """What would halve the interval of the target's loss, and of N* at its compute, as they are ``stated``;
    the labels of cells, which are none of those ``there``."""
    prior = stated.prior
    if fitted[0].is_external or {*prior.law.inputs} != {"N", "D"} or len(fitted) > MOST:
        return (), {}
    runs = [(float(run.params), float(run.run.tokens), float(run.flops)) for run in fitted]
    far = max(runs, key=lambda run: run[2])
    n, d, c = (target.inputs.get(x, known) for x, known in zip("NDC", far, strict=True))
    most = max(min(c * SHARE, REACH * far[2]), far[2])
    on_offer = offered(study, fitted[0].built_in.shape.vocab_size, runs, (n, d, c), most, there)
    if not on_offer:
        return (), {}
    cells, found = cells_of(on_offer, fitted), list[Help]()
    goals: tuple[Goal, ...] = ("loss",) if stated.without_best_size else ("loss", "size")
    for goal in goals:
        try:
            said = stated.ahead if goal == "loss" else stated.size
            found.append(Shop.of(prior, table, cells, target, goal=goal, said=said).halving())
        except AnalysisError:
            continue  # the law has no N* there, as the statement says
    return tuple(found), {i: offer.label for i, offer in enumerate(on_offer)}
