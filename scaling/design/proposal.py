"""The runs to train next, as they are printed, written as a spec, and given as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.fits.discrepancy import shipped
from analysis.fits.result import Fit
from analysis.fits.summary import count
from analysis.planning.field import Misfit
from analysis.planning.help import Help
from analysis.planning.prior import Prior
from analysis.planning.rivals import Decision, Told
from analysis.planning.statement import ahead_text, help_table, nothing_text
from scaling.plan.offers import Offer
from scaling.plan.written import cell_text, spec_text
from scaling.spec.designs.cells import Added, Cell
from scaling.spec.models import Study


@dataclass(frozen=True)
class Following:
    """The runs to train next. ``fit``: what they are chosen by; None: by the ``prior`` alone, as the table
    identifies no law yet. The prior's noise is what they were chosen by, beside ``misfit``. ``study`` trains
    them; ``extends``: into the results that are there. ``decisions`` are cells that tell laws apart which are
    not ``told`` apart by the table; ``variant``: that of all its runs. ``warnings`` say what speaks against
    the runs."""

    fit: Fit | None
    prior: Prior
    misfit: Misfit
    help: Help
    offers: tuple[Offer, ...]
    decisions: tuple[Decision, ...]
    told: tuple[Told, ...]
    variant: str | None
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
        if self.decisions or self.told:
            lines += ["", *(f"  {one.text}" for one in self.told), *self._deciding]
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
        """Cells that decide between laws, and how to train those that are not among the runs."""
        any_decides = any(one.decides for one in self.decisions)
        lines, rest = ["  cells that decide between laws:"] * any_decides, dict[int, Offer]()
        for one in self.decisions:
            offer, chosen = self.offers[one.offer], self._is_chosen(one)
            cost = f"{one.cost:.3g} FLOPs{', one of the runs above' if chosen else ''}"
            lines.append(f"  {offer.label} ({cost}): {one.text}")
            if one.decides and not chosen:
                rest[one.offer] = offer
        if rest:
            one_more = len(rest) == 1
            written = ", ".join(cell_text(cell) for cell in map(self._written, rest.values()))
            lines.append(
                f"  {'it is' if one_more else 'these are'} beside the budget and in no spec that is written; "
                f"to train {'it' if one_more else 'them'} put into {self._place}: {written}"
            )
        return lines

    def _is_chosen(self, one: Decision) -> bool:
        return one.offer in {run.offer for run in self.help.runs}

    @property
    def _place(self) -> str:
        """Where further cells are written, in words."""
        if self.help.runs:
            return f"`{'added' if self.extends else 'design.runs'}` of the spec below"
        return f"`added` of {'study.yaml' if self.extends else 'the spec that was given'}"

    def _written(self, offer: Offer) -> Cell:
        """A cell as it is written there."""
        listed = self.help.runs and not self.extends
        return offer.cell if listed else added(self.study, offer, self.variant)

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
                vars(one)
                | {
                    "decides": one.decides,
                    "chosen": self._is_chosen(one),
                    "cell": self.offers[one.offer].cell.model_dump(exclude_none=True),
                }
                for one in self.decisions
            ],
            "told": [vars(one) for one in self.told],
            "warnings": list(self.warnings),
            "spec": self.yaml() if self.help.runs else None,
        }


def added(study: Study, offer: Offer, variant: str | None) -> Added:
    """A cell on offer as a study has it beside its own, of a ``variant`` where it has some."""
    where = {"seeds": study.seeds[:1], **({"variant": variant} if study.variants else {})}
    return Added.model_validate({**offer.cell.model_dump(exclude_none=True), **where})


def too_far(beyond: Mapping[str, float]) -> Iterator[str]:
    """Say of a target that no forecast of published runs has reached as far."""
    tried = shipped().farthest
    if (far := beyond.get("C", 1.0)) > tried:
        yield (
            f"the target has {far:.3g} times the compute of the largest run, and forecasts were tried on "
            f"published runs up to {tried:.2g} times beyond: the interval is a guess; choose runs for a "
            "nearer target first"
        )
