"""What is asked about a design, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from scaling.plan.plan import Plan
from scaling.plan.repetition import on_purpose
from scaling.spec.designs.chosen import Adaptive, Optimal
from scaling.spec.models import Study

REPEATED = "data-constrained"  # the law of text that is read again


@dataclass(frozen=True)
class Asked:
    """What a statement rests on: names of ``laws``; ``prior``: a name of ``PUBLISHED``, the file of a fit, or
    values and ranges (``alpha=0.3:0.4,beta=0.3``); ``noise`` of log loss; ``compute`` of the target;
    ``simulate``: studies to simulate; ``folder``: of the spec, where a design of it names the prior."""

    laws: tuple[str, ...] = ()
    prior: str | None = None
    noise: float | None = None
    compute: float | None = None
    simulate: int = 0
    folder: Path | None = None

    def about(self, study: Study) -> Asked:
        """The same with the prior and the noise by which a design chooses its cells, where none is asked
        for."""
        design, asked = study.design, self
        if not isinstance(design, Optimal | Adaptive):
            return asked
        if asked.prior is None and design.prior is not None:
            asked = replace(asked, prior=design.prior, folder=study.source.folder)
        return replace(asked, noise=design.noise) if asked.noise is None else asked

    def fitting(self, plan: Plan) -> Asked:
        """The same with the law that a plan is for, where none is asked for: that of repeated text where runs
        read theirs again on purpose."""
        again = any(run.epochs > 1 and on_purpose(run) for run in plan.with_roles(("fit",)))
        return replace(self, laws=(REPEATED,)) if again and not self.laws else self
