"""What is asked about a design, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from scaling.spec.designs.chosen import Adaptive, Optimal
from scaling.spec.models import Study


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
