"""Rules and durations of a recipe -> the numbers of one run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from scaling.counts.shape import Shape
from scaling.data.index import DataIndex, coverage
from scaling.plan.designs import Wanted, parameters
from scaling.plan.plan import PlannedRun, job_id
from scaling.run import WSD, AdamW, Constant, Cosine, Data, Linear, Run, Schedule, run_id, trunk_id
from scaling.spec import models as spec
from scaling.spec.models import PowerRule, Study


@dataclass(frozen=True)
class Resolver:
    """Turns what is wanted into runs: rules into numbers, durations into steps.

    ``shortest`` is the horizon in steps that a warmup in percent refers to, per shape: one number for all
    runs of a shape, so that they can share their trunk.
    """

    study: Study
    index: DataIndex
    shortest: dict[Shape, int]

    def schedule(self, wanted: Wanted) -> Schedule:
        recipe = self.study.recipe
        written, batch_tokens = recipe.schedule, recipe.batch_tokens
        warmup = written.warmup.in_steps(self.shortest[wanted.shape], batch_tokens)
        match written:
            case spec.WSD():
                decay = written.decay.in_steps(wanted.steps, batch_tokens)
                return WSD(warmup_steps=warmup, decay_steps=decay, shape=written.shape)
            case spec.Cosine():
                return Cosine(warmup_steps=warmup, final_fraction=written.final_fraction)
            case spec.Linear():
                return Linear(warmup_steps=warmup, final_fraction=written.final_fraction)
            case spec.Constant():
                return Constant(warmup_steps=warmup)

    def learning_rate(self, wanted: Wanted) -> float | None:
        """The peak rate, to 12 digits, so that ids do not depend on a machine's ``pow``; None if absurd."""
        rule = self.study.recipe.optimizer.learning_rate
        if not isinstance(rule, PowerRule):
            return rule
        counts = parameters(wanted.shape)
        base = {
            "width": wanted.shape.width,
            "depth": wanted.shape.depth,
            "params": counts.total,
            "params_body": counts.body,
            "tokens": wanted.steps * self.study.recipe.batch_tokens,
        }[rule.of]
        try:
            rate = rule.coefficient * float(base) ** rule.exponent
        except OverflowError:
            return None
        return float(f"{rate:.12g}") if 1e-12 <= rate <= 1e6 else None

    def planned(self, wanted: Wanted, learning_rate: float) -> PlannedRun:
        data, recipe = self.study.data, self.study.recipe
        optimizer = recipe.optimizer
        run = Run(
            shape=wanted.shape,
            data=Data(corpus=data.corpus, tokenizer=data.tokenizer, fingerprint=self.index.fingerprint),
            optimizer=AdamW(
                learning_rate=learning_rate,
                weight_decay=optimizer.weight_decay,
                b1=optimizer.b1,
                b2=optimizer.b2,
                eps=optimizer.eps,
                clip_norm=optimizer.clip_norm,
            ),
            schedule=self.schedule(wanted),
            batch_sequences=recipe.batch_tokens // data.context,
            steps=wanted.steps,
            precision=recipe.precision,
            seed=wanted.seed,
        )
        unique, epochs = coverage(run.tokens, self.index)
        share, name, trunk = self.study.execution.share_trunk, run_id(run), trunk_id(run)
        return PlannedRun(
            run_id=name,
            label=wanted.label,
            role=wanted.role,
            job_id=job_id(name, trunk, held_out=wanted.role == "holdout", share_trunk=share),
            trunk_id=trunk,
            run=run,
            unique_tokens=unique,
            epochs=epochs,
            budget=wanted.budget,
        )


def shortest_horizons(kept: Iterable[Wanted]) -> dict[Shape, int]:
    """Per shape the shortest horizon of its fitted runs, or of its others where it has none."""
    shortest = dict[Shape, int]()
    for fitted in (True, False):
        group = [w for w in kept if (w.role == "fit") == fitted]
        found = dict[Shape, int]()
        for w in group:
            found[w.shape] = min(w.steps, found.get(w.shape, w.steps))
        shortest = found | shortest
    return shortest
