"""Downstream accuracy in two steps: a law of the loss, then accuracy from loss by a link, chained.

Bhagia et al. 2024 (arXiv:2412.04403): task loss from N and D by the chinchilla law, accuracy by a sigmoid
a / (1 + exp(-k (L - L0))) + b; our ``ceiling`` is their b, ``floor`` their a + b (a < 0). Gadre et al. 2024
(arXiv:2403.08540, eq. 5): error = eps - k exp(-gamma L); our ``floor`` is 1 - eps. Both links are least
squares of the accuracy itself, which runs from 0 to 1. Uncertainty of both steps is carried through by
replicates; where both steps resampled the same clusters, a replicate of one is paired with that of the other.

Shapes: R replicates, m rows asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from analysis.codec import Result, parsed
from analysis.errors import AnalysisError
from analysis.fits import fitting
from analysis.fits.intervals import intervals, new_run
from analysis.fits.prediction import Prediction
from analysis.fits.result import CODES, Fit
from analysis.laws.law import Law
from analysis.laws.lookup import LAW
from analysis.links import INPUT, LINKS, bounds_of, link_of
from analysis.results import Status

PAIRED = ("cluster", "wild-cluster")  # methods whose replicates are one draw of clusters
SIGNAL = 2.0  # times the residual scale: a smaller rise of accuracy is within its noise


@dataclass(frozen=True)
class TwoStep(Result):
    """``loss`` and ``link`` are ordinary fits of the columns in ``columns``. ``paired``: replicates of both
    are of the same resampled clusters; otherwise the two steps are taken as independent. ``notes``: what to
    beware of beside the notes of each step."""

    loss: Fit
    link: Fit
    columns: tuple[str, str]
    paired: bool
    notes: tuple[str, ...] = ()

    SCHEMA: ClassVar = 1
    WHAT: ClassVar = "two steps"
    AGAIN: ClassVar = "fit the table again"
    DERIVED: ClassVar = ("status",)

    @property
    def status(self) -> Status:
        """The worse of the two steps, whose code leads; ``not_identified`` when
        the accuracy does not rise above its noise."""
        steps = {"loss": self.loss.status, "link": self.link.status}
        if self.loss.usable and self.link.usable and (why := self._silent()):
            advice = "take a task with more questions, a smoother metric, or better runs"
            steps["link"] = Status("not_identified", why, advice)
        worst = max(steps.values(), key=lambda s: CODES.index(s.code))
        message = "; ".join(f"{name}: {s.message}" for name, s in steps.items())
        return Status(worst.code, message, worst.advice)

    @property
    def sd(self) -> float:
        """Standard deviation of accuracy about the link, of one run."""
        left = np.array(self.link.data["L"]) - self._linked(self.link.data[INPUT])[0]
        return float(np.sqrt(left @ left / self.link.noise.degrees))

    def _silent(self) -> str:
        """Why the accuracy says nothing; empty when it does."""
        fitted = self._linked(self.link.data[INPUT])[0]
        best = fitted[np.argmin(self.link.data[INPUT])]
        known = self.link.fixed.get("floor")
        least, what = (fitted.min(), "the worst run") if known is None else (known, "chance")
        if best - least >= SIGNAL * self.sd:
            return ""
        return (
            f"{self.columns[1]!r} is within noise of {what}: at the lowest loss the link is "
            f"{best - least:+.3f} above, and single runs scatter by {self.sd:.3f}"
        )

    @property
    def usable(self) -> bool:
        """Whether there is a chain to predict with."""
        return self.status.code != "not_identified"

    def _linked(self, losses: Any, params: np.ndarray | None = None) -> np.ndarray:
        """(R, m) accuracy within [0, 1] at ``losses`` (R, m) or (m,) under each of ``params`` (R, P), left
        out: those fitted."""
        names = self.link.problem.names
        params = np.array([[self.link.solution[name] for name in names]]) if params is None else params
        given = {name: params[:, [i]] for i, name in enumerate(names)}
        return np.clip(self.link.law.values(given, {INPUT: np.atleast_2d(losses)}), 0.0, 1.0)

    def predict(
        self,
        rows: pd.DataFrame | Mapping[str, Any] | None = None,
        *,
        level: float | None = None,
        **inputs: Any,
    ) -> Prediction:
        """Accuracy at ``rows`` or inputs, as :meth:`Fit.predict` takes them: ``accuracy`` with ``low, high``
        (the chain) and ``new_low, new_high`` (a new run: its loss scatters about the law, its accuracy about
        the link), all within [0, 1]; ``loss, loss_low, loss_high`` of the first step; ``se`` of the accuracy.
        Raises AnalysisError."""
        if not self.usable:
            raise AnalysisError(f"two steps to {self.columns[1]!r} cannot predict: {self.status.message}")
        level = self.loss.level if level is None else level
        first = self.loss.predict(rows, level=level, **inputs)
        out, draws = first.frame, np.array(self.loss.replicates)
        mean = out["loss"].to_numpy(float)
        at = {x: out[x].to_numpy(float) for x in self.loss.law.inputs}
        many = self.loss.problem.values(self.loss.problem.parameters(draws), at, 0)
        params = self.link.problem.parameters(np.array(self.link.replicates))
        count = min(len(many), len(params))
        point = self._linked(mean)[0]
        spread = self._linked(many[:count], params[:count])
        degrees = min(fit.intervals.degrees for fit in (self.loss, self.link))
        named = out.drop(columns=["new_low", "new_high", "se_log", "extrapolation"])
        frame = named.rename(columns={"low": "loss_low", "high": "loss_high"})
        low, high = intervals(point, spread, level, degrees, log=False)
        sd = np.hypot(self.sd, self._slope(mean) * self._scatter(mean))
        new = new_run(point, spread, sd, level, degrees, log=False)
        frame["accuracy"] = point
        ends = (low, high, np.fmin(new[0], low), np.fmax(new[1], high))
        frame[["low", "high", "new_low", "new_high"]] = np.clip(np.transpose(ends), 0.0, 1.0)
        frame["se"] = np.sqrt(np.mean((spread - point) ** 2, axis=0))
        frame["extrapolation"] = out["extrapolation"]
        method = f"{self.loss.intervals.method}; link: {self.link.intervals.method}; {self.pairing}"
        return Prediction(frame, level, method, "raw", (*first.notes, *self._beyond(mean)))

    @property
    def pairing(self) -> str:
        """How the replicates of both steps go together, in words."""
        return "clusters resampled jointly" if self.paired else "steps taken as independent"

    def _slope(self, losses: np.ndarray) -> np.ndarray:
        step = 1e-4 * np.ptp(self.link.data[INPUT])
        up, down = (self._linked(losses + s)[0] for s in (step, -step))
        return (up - down) / (2 * step)

    def _scatter(self, losses: np.ndarray) -> np.ndarray:
        """Standard deviation of a run's loss about its law."""
        slope = {"log": losses, "log1p": 1 + losses, "raw": np.ones_like(losses)}  # dL / d residual
        return self.loss.noise.sd * slope[self.loss.setup.space]

    def _beyond(self, losses: np.ndarray) -> list[str]:
        seen = self.link.data[INPUT]
        beyond = [x for x in (losses.min(), losses.max()) if not min(seen) <= x <= max(seen)]
        if not beyond:
            return []
        at = " and ".join(f"{x:.4g}" for x in dict.fromkeys(beyond))
        return [f"the link was fitted at losses {min(seen):.4g} .. {max(seen):.4g}; at {at} its form decides"]

    def summary(self) -> str:
        """Both steps as text for a terminal."""
        lines = [
            f"two steps: {self.columns[0]!r} from {', '.join(self.loss.law.inputs)}, then {self.columns[1]!r}"
        ]
        lines += [f"  status: {self.status.code} - {self.status.message}"]
        if self.link.usable:
            lines.append(f"  one run's accuracy about the link: s.d. {self.sd:.4f}; {self.pairing}")
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join([*lines, "", "step 1", self.loss.summary(), "", "step 2", self.link.summary()])

    @classmethod
    def from_json(cls, text: str, law: Law | None = None) -> TwoStep:
        """What ``to_json`` wrote; ``law`` as in :meth:`Fit.from_json`, of the loss. Raises AnalysisError."""

        def link(data: dict[str, Any]) -> Fit:
            return Fit.from_dict(data, next((x for x in LINKS.values() if x.to_dict() == data["law"]), None))

        return cls.from_dict(parsed(text, cls), loss=lambda data: Fit.from_dict(data, law), link=link)


def twostep(
    table: pd.DataFrame,
    loss_law: str | Law = LAW,
    *,
    loss: str = "loss",
    accuracy: str = "accuracy",
    link: str = "sigmoid",
    floor: float | None = None,
    ceiling: float | None = None,
    link_table: pd.DataFrame | None = None,
    objective: str = "huber",
    delta: float | None = None,
    **options: Any,
) -> TwoStep:
    """Fit a law of the loss to a table of runs, and a link from the loss to an accuracy.

    Args:
        table: runs with both columns.
        loss_law: a name of ``LAWS``, ``file.py:NAME`` or a Law.
        loss: the column of the loss.
        accuracy: the column of the accuracy, shares from 0 to 1.
        link: a name of :data:`LINKS`.
        floor: the accuracy of guessing; left out: fitted.
        ceiling: of the sigmoid; left out: fitted.
        link_table: other rows for the link, such as every evaluation of the runs.
        objective: of the loss law, as of :func:`analysis.fit`.
        delta: of the loss law, as of :func:`analysis.fit`.
        options: of both steps: bootstrap, method, cluster, where, seed, level, roles, convention.

    Raises:
        AnalysisError: for a bad request or table.
    """
    law = link_of(link, {"floor": floor, "ceiling": ceiling}, options)
    rows = table if link_table is None else link_table
    if not isinstance(rows, pd.DataFrame):
        raise AnalysisError(f"table {rows!r}: must be a DataFrame; analysis.load(path) reads one")
    values, results = _columns(rows, loss, accuracy)
    first = fitting.fit(loss_law, table, target=loss, objective=objective, delta=delta, **options)
    fixed = {name: v for name, v in (("floor", floor), ("ceiling", ceiling)) if v is not None}
    second = fitting.fit(
        law, rows.assign(**{INPUT: values}), target=accuracy, objective="raw-ls", fixed=fixed,
        bounds=bounds_of(law, values[np.isfinite(values) & np.isfinite(results)]), **options,
    )  # fmt: skip
    same = [_clusters(f, "row" if link_table is None else "N") for f in (first, second)]
    paired = bool(same[0]) and same[0] == same[1] and all(f.intervals.kind in PAIRED for f in (first, second))
    if not paired:  # two resamplings from one seed are not independent until their order is
        order = np.random.default_rng(options.get("seed", 0)).permutation(len(second.replicates))
        second = replace(second, replicates=tuple(second.replicates[i] for i in order))
    return TwoStep(first, second, (loss, accuracy), paired, tuple(_unseen(second)))


def _clusters(fit: Fit, by: str) -> list[tuple[Any, ...]]:
    """What each cluster is, in the order in which replicates draw them; empty where ``by`` does not tell."""
    cluster, contents = np.array(fit.data["cluster"]), []
    for g in range(len(set(fit.data["cluster"]))):
        values = (v for v, at in zip(fit.data.get(by, ()), cluster, strict=False) if at == g)
        contents.append(tuple(sorted(values if by == "row" else set(values))))
    return contents if len(set(contents)) == len(contents) else []


def _columns(rows: pd.DataFrame, loss: str, accuracy: str) -> tuple[np.ndarray, np.ndarray]:
    """Both columns as numbers, nan where they are none."""
    missing = [x for x in (loss, accuracy) if x not in rows.columns]
    if missing:
        has = ", ".join(map(str, rows.columns))
        raise AnalysisError([f"column {x!r} is missing; the table has {has}" for x in missing])
    values, results = (np.asarray(pd.to_numeric(rows[x], errors="coerce"), float) for x in (loss, accuracy))
    outside = np.isfinite(results) & ((results < 0) | (results > 1))
    if outside.any():
        worst = results[outside][np.argmax(np.abs(results[outside]))]
        raise AnalysisError(
            f"column {accuracy!r} has {worst:g}; accuracies are shares from 0 to 1 (divide per cent by 100)"
        )
    return values, results


def _unseen(link: Fit) -> list[str]:
    """A plateau that no run has reached decides predictions beyond the losses seen."""
    out = []
    for name in ("floor", "ceiling"):
        plateau = link.identified.get(name)
        if link.usable and plateau is not None and plateau.verdict != "yes":
            out.append(
                f"{name} of {link.setup.target!r} is not determined ({plateau.reason}): no run shows "
                f"that plateau, and beyond the losses seen it decides; give {name}= where it is known"
            )
    return out
