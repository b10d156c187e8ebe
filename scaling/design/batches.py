"""What a critical-batch design can identify: the critical batch of each size and horizon."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.fits.summary import count
from analysis.hyperparameters.steps import horizons
from analysis.laws.lookup import LAW
from analysis.planning.batch_groups import BatchGroup, CriticalPrior
from analysis.planning.batches import ExpectedBatches, expect_batches
from analysis.planning.batches_text import batches_text
from analysis.planning.simulate import Simulated
from analysis.planning.simulated_batches import simulate_batches
from analysis.planning.statement import simulated_text
from scaling.design.priors import priors, without_batch
from scaling.design.tables import table_of
from scaling.design.wish import Asked
from scaling.plan.plan import Plan, PlannedRun


@dataclass(frozen=True)
class BatchStatement:
    """What is ``expected`` of the critical batch, what of the design stands against it (``doubts``), and what
    ``simulated`` studies say, where some are asked for."""

    expected: ExpectedBatches
    doubts: tuple[str, ...]
    simulated: Simulated | None = None

    @property
    def text(self) -> str:
        said = "\n".join([batches_text(self.expected), *(f"warning: {doubt}" for doubt in self.doubts)])
        if self.simulated is None:
            return said
        several = "\n  a study counts as the worst of its groups" * (len(self.expected.found) > 1)
        return f"{said}\n\n{simulated_text(self.simulated)}{several}"

    def to_json(self) -> dict[str, Any]:
        simulated = self.simulated.to_dict() if self.simulated else None
        return self.expected.to_dict() | {"doubts": list(self.doubts), "simulated": simulated}


def batch_statement(plan: Plan, fitted: list[PlannedRun], asked: Asked) -> BatchStatement:
    """Say what the fitted runs of a plan, grouped by variant, size and horizon, can identify.

    Raises:
        AnalysisError: a law or a prior is not known.
        UserError: the file of a prior is none.
    """
    critical, rest = without_batch(asked.prior)
    of_losses = priors(replace(asked, laws=(LAW,), prior=rest), table_of(fitted))[0]
    groups = [_group(plan, runs) for runs in _grouped(fitted)]
    if critical is None:
        tokens = np.exp(np.mean([np.log(group.tokens + group.trunk_tokens) for group in groups]))
        critical = CriticalPrior.nearest(float(tokens))
    expected = expect_batches(of_losses, critical, groups)
    simulated = simulate_batches(expected, asked.simulate) if asked.simulate else None
    return BatchStatement(expected, tuple(_doubts(plan, fitted, groups)), simulated)


def _grouped(fitted: Iterable[PlannedRun]) -> Iterator[list[PlannedRun]]:
    """The runs of one variant, size, values on axes and horizon, the smallest batch first."""
    found = dict[Any, list[PlannedRun]]()
    for run in sorted(fitted, key=lambda run: (run.run.batch_tokens, run.run.tokens)):
        found.setdefault((run.variant, run.params, str(run.values)), []).append(run)
    for runs in found.values():
        amounts = np.array([(run.run.tokens, run.run.batch_tokens) for run in runs], float)
        at = horizons(*amounts.T)
        for horizon in np.unique(at):
            yield [run for run, its in zip(runs, at, strict=True) if its == horizon]


def _group(plan: Plan, runs: list[PlannedRun]) -> BatchGroup:
    first = runs[0]
    start = None if first.is_external else plan.by_id.get(first.built_in.init_from or "")
    batches = np.array([run.run.batch_tokens for run in runs], float)
    horizon = float(first.run.tokens)
    values = [f"{name} = {value}" for name, value in first.values.items()]
    names = [*filter(None, [first.variant]), *values, f"N = {count(first.params)}", f"D = {count(horizon)}"]
    tokens = min(float(_undecayed(run)) for run in runs)
    trunk = (float(start.run.tokens), float(start.run.batch_tokens)) if start else (0.0, 1.0)
    return BatchGroup(", ".join(names), float(first.params), horizon, batches, tokens, *trunk)


def _undecayed(run: PlannedRun) -> int:
    """Tokens that a run is trained on before its rate decays; all, where it decays throughout."""
    decay = 0 if run.is_external or not run.built_in.schedule.shares_trunk else run.built_in.decay_steps
    return (run.run.steps - decay) * run.run.batch_tokens


def _doubts(plan: Plan, fitted: list[PlannedRun], groups: list[BatchGroup]) -> Iterator[str]:
    """Say why steps to a loss would not be those of the law, or not be known."""
    if any(not run.is_external and not run.built_in.schedule.shares_trunk for run in fitted):
        yield (
            "the learning rate decays throughout a run, so that the steps to a loss depend on the horizon; "
            "take schedule: {kind: wsd, ...}, whose rate is constant until its decay"
        )
    if plan.every is None and plan.command is None:
        yield (
            "no loss is evaluated along the way, and steps to a loss are read off learning curves: the "
            "training loss is that of one batch, noisier than is assumed; evaluation: {every: 10 %} adds "
            "eval/loss"
        )
    if not any(group.trunk_tokens for group in groups):
        yield (
            "no trunk: each batch is trained from the start, so that early training, where the critical "
            "batch is small, is a part of the answer; with design.trunk_tokens all begin at one point of "
            "training (arXiv:2505.23971)"
        )
