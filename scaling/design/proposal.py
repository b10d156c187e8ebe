"""The runs to train next, as they are printed, written as a spec, and given as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.fits.discrepancy import TRIED
from analysis.fits.result import Fit
from analysis.fits.summary import count
from analysis.planning.field import Misfit
from analysis.planning.help import Help
from analysis.planning.prior import Prior
from analysis.planning.rivals import Decision
from analysis.planning.statement import ahead_text, help_table, nothing_text
from scaling.plan.offers import Offer
from scaling.plan.written import spec_text
from scaling.spec.models import Study


@dataclass(frozen=True)
class Following:
    """The runs to train next. ``fit``: what they are chosen by; None: by the ``prior`` alone, as the table
    identifies no law yet. The prior's noise is what they were chosen by, beside ``misfit``. ``study`` trains
    them; ``extends``: into the results that are there. ``warnings`` say what speaks against them."""

    fit: Fit | None
    prior: Prior
    misfit: Misfit
    help: Help
    offers: tuple[Offer, ...]
    decisions: tuple[Decision, ...]
    study: Study
    extends: bool
    spent: float
    budget: float
    place: Mapping[str, float]
    beyond: Mapping[str, float]
    warnings: tuple[str, ...] = ()

    @property
    def chosen(self) -> tuple[Offer, ...]:
        return tuple(self.offers[run.offer] for run in self.help.runs)

    @property
    def text(self) -> str:
        labels = {i: offer.label for i, offer in enumerate(self.offers)}
        noise, half = self.prior.noise.text, self.help
        what = "of the forecast" if half.goal == "loss" else "of N*"
        lines = [
            f"next runs for {half.name} by {self.prior.law.name}: {self.prior.source}",
            f"  {self._where}",
            f"  chosen by noise of {noise}; the law off by {self.misfit.size:.2%} at the target, more away",
            f"  90% interval {what} now {ahead_text(half.now)}",
        ]
        if half.runs:
            lines[-1] += f", after these runs {ahead_text(half.then)}"
            lines += [
                f"  {half.cost:.3g} of {self.budget:.3g} FLOPs ({half.cost / self.spent:.0%} of what is "
                f"there); {half.offered} cells on offer",
                "",
                *(f"  {line}" for line in help_table(half.runs, labels)),
            ]
        else:
            lines.append(f"  within {self.budget:.3g} FLOPs {nothing_text(half)}")
        lines += [f"  {offer.label}: continues a trunk from step {offer.continued:,} of {offer.steps:,}"
                  for offer in self.chosen if offer.continued]  # fmt: skip
        if self.decisions:
            lines += ["", *self._deciding]
        if self.warnings:
            lines += ["", *(f"warning: {text}" for text in self.warnings)]
        return "\n".join(lines)

    @property
    def _where(self) -> str:
        """Where the target lies, in words."""
        at = [f"{x} = {count(self.place[x])}" for x in "ND" if x in self.place]
        best = "the best run there has " if "N" not in self.help.target.inputs else ""
        far = ", ".join(f"{x} {factor:.3g}x" for x, factor in self.beyond.items() if factor > 1)
        return f"target: {best}{', '.join(at)}; {f'{far} beyond the runs' if far else 'within the runs'}"

    @property
    def _deciding(self) -> list[str]:
        """Cells that decide between laws, which are no part of the spec, and how to train them."""
        lines = ["  cells that decide between laws, beside the budget and in no spec that is written:"]
        for one in self.decisions:
            offer = self.offers[one.offer]
            lines.append(f"  {offer.label} ({one.cost:.3g} FLOPs): {one.text}")
        written = [_flow(self.offers[one.offer]) for one in self.decisions if one.decides]
        if written:
            where = "added" if self.extends else "design.runs"
            lines.append(f"  to train them put into `{where}` of the spec: {', '.join(written)}")
        return lines

    def yaml(self, place: Path | None = None) -> str:
        """The spec that trains them, to be written to ``place`` or printed, without what it would have if it
        were left out."""
        heading = f"runs for {self.help.name}, chosen by {self.prior.law.name}: {self.prior.source}"
        return spec_text(self.study, place, heading)

    def to_json(self) -> dict[str, Any]:
        runs = [
            run | {"label": offer.label, "steps": offer.steps, "continued": offer.continued}
            for run, offer in zip(self.help.to_dict()["runs"], self.chosen, strict=True)
        ]
        return {
            **self.help.to_dict(),
            "runs": runs,
            "prior": self.prior.to_dict(),
            "budget": self.budget,
            "spent": self.spent,
            "place": dict(self.place),
            "beyond": dict(self.beyond),
            "decisions": [
                vars(one) | {"decides": one.decides, "cell": _cell(self.offers[one.offer])}
                for one in self.decisions
            ],
            "warnings": list(self.warnings),
            "spec": self.yaml() if self.help.runs else None,
        }


def _cell(offer: Offer) -> dict[str, Any]:
    return offer.cell.model_dump(exclude_none=True)


def _flow(offer: Offer) -> str:
    """A cell as a spec has it, on one line."""
    return "{" + ", ".join(f"{name}: {value:g}" if isinstance(value, float) else f"{name}: {value}"
                           for name, value in _cell(offer).items()) + "}"  # fmt: skip


def too_far(beyond: Mapping[str, float]) -> Iterator[str]:
    """Say of a target that no forecast of published runs has reached as far."""
    if (far := beyond.get("C", 1.0)) > TRIED:
        yield (
            f"the target has {far:.3g} times the compute of the largest run, and forecasts were tried on "
            f"published runs up to {TRIED:g} times beyond: the interval is a guess; choose runs for a nearer "
            "target first"
        )
