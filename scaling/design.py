"""What a design can identify before it is trained, and which runs to train next.

With ``study`` and the command line, the only code that imports both packages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling.errors import Complaint, UserError
from scaling.own_analysis import require_own_analysis
from scaling.plan.offers import Bounds, Offer, offers
from scaling.plan.plan import Plan, PlannedRun
from scaling.spec.models import Study

require_own_analysis()

import pandas as pd  # noqa: E402

from analysis.errors import AnalysisError  # noqa: E402
from analysis.fits.result import Fit  # noqa: E402
from analysis.laws.lookup import find  # noqa: E402
from analysis.optimal_size.saved import read_saved, result  # noqa: E402
from analysis.planning.expected import Expected, Target, expect  # noqa: E402
from analysis.planning.help import Help, Shop  # noqa: E402
from analysis.planning.prior import PUBLISHED, NoiseLevel, Prior  # noqa: E402
from analysis.planning.statement import expected_text, help_text  # noqa: E402

BEYOND = 10.0  # times the largest compute: the target where none is named
SHARE = 0.5  # of the compute of a target, that a run which helps its forecast may cost


@dataclass(frozen=True)
class Asked:
    """What a statement rests on: names of ``laws``; ``prior``: a name of ``PUBLISHED``, the file of a fit, or
    values and ranges (``alpha=0.3:0.4,beta=0.3``); ``noise`` of log loss; ``compute`` of the target;
    ``simulate``: studies to simulate."""

    laws: tuple[str, ...] = ()
    prior: str | None = None
    noise: float | None = None
    compute: float | None = None
    simulate: int = 0


@dataclass(frozen=True)
class Identification:
    """What the fitted runs of a plan, of each variant, can identify of each law, and what would help."""

    statements: tuple[tuple[str | None, Expected], ...]
    helps: tuple[Help, ...]
    labels: Mapping[int, str]
    flops: float

    @property
    def text(self) -> str:
        parts = [
            (f"variant {name}: " if name else "") + expected_text(found) for name, found in self.statements
        ]
        parts += [help_text(found, self.labels, self.flops) for found in self.helps]
        return "\n\n".join(parts)

    def to_json(self) -> dict[str, Any]:
        return {
            "expected": [{"variant": name, **found.to_dict()} for name, found in self.statements],
            "help": [
                found.to_dict() | {"labels": [self.labels[run.offer] for run in found.runs]}
                for found in self.helps
            ],
        }


def identification(study: Study, plan: Plan, asked: Asked = Asked()) -> Identification | None:
    """Say what the fitted runs of a plan can identify; None where a law in N and D cannot be asked of them.

    Raises:
        AnalysisError: a law or a prior is not known, or says nothing at these runs.
    """
    fitted = [run for run in plan.runs if run.role == "fit"]
    if not fitted:
        return None
    statements, known, variants = list[tuple[str | None, Expected]](), set[Any](), _variants(fitted)
    targets = targets_of(plan, asked.compute)
    for name, runs in variants.items():
        table = table_of(runs)
        same = tuple(sorted((run.params, run.run.tokens, run.run.seed) for run in runs))
        if same in known:
            continue  # another variant has the same runs: the same is expected of it
        known.add(same)
        for prior in priors(asked, table):
            statements.append((name, expect(prior, table, targets)))
    first = table_of(next(iter(variants.values())))
    leading = priors(asked, first)[0]
    helps, labels = helpful(study, plan, leading, first, targets[0])
    return Identification(tuple(statements), helps, labels, float(first["flops"].sum()))


def _variants(runs: Iterable[PlannedRun]) -> dict[str | None, list[PlannedRun]]:
    found = dict[str | None, list[PlannedRun]]()
    for run in runs:
        found.setdefault(run.variant, []).append(run)
    return found


def table_of(runs: Iterable[PlannedRun]) -> pd.DataFrame:
    """The table that runs will have, without what they measure."""
    return pd.DataFrame(
        {
            "label": run.label,
            "params": run.params,
            "params_body": run.params_body,
            "params_active": run.params_active,
            "tokens": run.run.tokens,
            "unique_tokens": run.unique_tokens,
            "flops": run.flops,
            "trunk_id": run.trunk_id,
            "seed": run.run.seed,
            **run.values,
        }
        for run in runs
    )


def targets_of(plan: Plan, compute: float | None) -> list[Target]:
    """The compute that is asked for, else the held-out run of most compute, else ten times the largest."""
    if compute is not None:
        return [Target.at_compute(compute)]
    held = [run for run in plan.runs if run.role == "holdout"]
    if held:
        run = max(held, key=lambda run: run.flops)
        inputs = {"N": run.params, "D": run.run.tokens, "C": run.flops, "unique_tokens": run.unique_tokens}
        return [Target({x: float(v) for x, v in inputs.items()}, run.label), Target.at_compute(run.flops)]
    most = max(run.flops for run in plan.runs if run.role == "fit")
    return [Target.at_compute(float(f"{BEYOND * most:.2g}"))]


def priors(asked: Asked, table: pd.DataFrame) -> list[Prior]:
    """One for each law asked for, chinchilla where none is.

    Raises:
        AnalysisError: a law or a value is not known.
        UserError: a file is no fit.
    """
    noise = None if asked.noise is None else NoiseLevel(asked.noise)
    inputs = {"N": table["params"].to_numpy(float), "D": table["tokens"].to_numpy(float),
              "C": table["flops"].to_numpy(float)}  # fmt: skip
    inputs |= {str(name): table[name].to_numpy() for name in table.columns}
    base = _prior(asked.prior, inputs["N"], noise)
    laws = [find(name) for name in asked.laws] or [base.law]
    return [base.as_law(law, inputs) for law in laws]  # type: ignore[arg-type]


def _prior(text: str | None, sizes: Any, noise: NoiseLevel | None) -> Prior:
    if text is None:
        return Prior.nearest(sizes, noise)
    if text in PUBLISHED:
        return Prior.published(text, noise)
    if "=" in text:
        return Prior.nearest(sizes, noise).with_values(_ranges(text))
    saved = read_saved(Path(text))
    fit = None if saved is None else result(saved)
    if not isinstance(fit, Fit) or not fit.usable:
        hint = f"choose of {', '.join(PUBLISHED)}, give values such as alpha=0.3:0.4, or the JSON of a fit"
        raise UserError(Complaint(f"--prior {text}: is no prior that is known", hint=hint))
    return Prior.of_fit(fit, text, noise)


def _ranges(text: str) -> dict[str, tuple[float, float]]:
    """Read ``alpha=0.3:0.4,beta=0.3``. Raises UserError with all that is of another form."""
    found, problems = dict[str, tuple[float, float]](), list[Complaint]()
    for part in text.split(","):
        name, _, values = part.partition("=")
        low, colon, high = values.partition(":")
        try:
            found[name.strip()] = float(low), float(high if colon else low)
        except ValueError:
            hint = "such as alpha=0.3 or alpha=0.3:0.4"
            problems.append(Complaint(f"--prior {part}: must be a number or a range", hint=hint))
    if problems:
        raise UserError(*problems)
    return found


def helpful(
    study: Study, plan: Plan, prior: Prior, table: pd.DataFrame, target: Target
) -> tuple[tuple[Help, ...], dict[int, str]]:
    """What would halve the interval of the target's loss, and of N* at its compute; the labels of cells."""
    fitted = [run for run in plan.runs if run.role == "fit"]
    most = min(float(target.compute or 0) * SHARE, 4 * max(run.flops for run in fitted))
    on_offer = offered(study, plan, fitted, target, max(most, float(table["flops"].max())))
    if not on_offer or {*prior.law.inputs} != {"N", "D"}:
        return (), {}
    cells, found = cells_of(on_offer, fitted), list[Help]()
    for goal in ("loss", "size"):
        try:
            found.append(Shop.of(prior, table, cells, target, goal=goal).halving())
        except AnalysisError:
            continue  # the law has no N* there, as the statement says
    return tuple(found), {i: offer.label for i, offer in enumerate(on_offer)}


def offered(
    study: Study, plan: Plan, have: Sequence[PlannedRun], target: Target, most_flops: float
) -> list[Offer]:
    """The cells of the family that may be bought for a target."""
    first = have[0]
    if first.is_external or not {"N", "D"} & {*target.inputs, "N"}:
        return []
    runs = [(float(run.params), float(run.run.tokens), float(run.flops)) for run in have]
    n, d, c = (target.inputs.get(x) for x in "NDC")
    longest = max(runs, key=lambda run: run[2])
    place = (n or longest[0], d or longest[1], c or longest[2])
    bounds = Bounds.about(runs, place, most_flops)
    return offers(study, first.built_in.shape.vocab_size, bounds, have)


def cells_of(on_offer: Sequence[Offer], have: Sequence[PlannedRun]) -> pd.DataFrame:
    """The table of cells on offer, which share noise with the trunks that they continue."""
    trunks = {run.params: run.trunk_id for run in have}
    seed = have[0].run.seed
    return pd.DataFrame(
        {
            "label": offer.label,
            "params": offer.params,
            "params_body": offer.params_body,
            "tokens": offer.tokens,
            "flops": offer.flops,
            "cost": offer.cost,
            "seed": seed,
            "trunk_id": trunks.get(offer.params) if offer.continued else (offer.trunk or offer.label),
        }
        for offer in on_offer
    )
