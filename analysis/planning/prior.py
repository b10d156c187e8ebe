"""What is assumed of a law and its noise before runs are trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from scipy import stats

from analysis.errors import AnalysisError, Complaint
from analysis.fits.result import Fit
from analysis.laws.law import Law
from analysis.laws.lookup import require
from analysis.results import Interval, Part
from analysis.solve.multistart import solve
from analysis.solve.problem import Loss, Problem

UNIQUE = "unique_tokens"
REPEATED = {"RN": 5.31, "RD": 15.39}  # Muennighoff et al. 2023, arXiv:2305.16264, section 6
DRAWS = 24  # of a prior that is given by ranges
SEEDS = 0.005  # of log loss: between runs that differ by seeds, where nothing else is known


@dataclass(frozen=True)
class NoiseLevel(Part):
    """Standard deviations of log loss: ``run``, of each run on its own; ``shared``, of what the runs of one
    cluster (a trunk, or a size and seed) have in common."""

    run: float = SEEDS
    shared: float = 0.0

    def __post_init__(self) -> None:
        if not (0 < self.run < np.inf and 0 <= self.shared < np.inf):
            message = f"noise {self.run!r}, shared {self.shared!r}: must be finite, the first above 0"
            raise AnalysisError(Complaint(message, hint="0.005 is half a percent of a loss"))

    def without(self, misfit: float) -> NoiseLevel:
        """The same but for a part that is ``misfit`` of the law."""
        total = self.run**2 + self.shared**2
        share = float(np.sqrt(np.clip(1 - misfit**2 / total, 1e-4, 1.0)))
        return NoiseLevel(share * self.run, share * self.shared)

    def covariance(self, cluster: np.ndarray) -> np.ndarray:
        """(n, n) of the log losses of runs in clusters (n,)."""
        alike = cluster[:, None] == cluster[None]
        return self.run**2 * np.eye(len(cluster)) + self.shared**2 * alike

    @property
    def text(self) -> str:
        shared = f", and {self.shared:.2%} that the runs of a cluster share" if self.shared else ""
        return f"{self.run:.2%} of the loss for each run{shared}"


@dataclass(frozen=True)
class Published:
    """Parameters of a law and where they are from; ``sizes``: the N of the runs they were fitted to."""

    law: str
    params: Mapping[str, float]
    sizes: Interval
    noise: NoiseLevel
    source: str


PUBLISHED = {
    "chinchilla": Published(
        "chinchilla",
        {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658},
        Interval(4.4e7, 1.6e10),
        NoiseLevel(SEEDS),
        "Hoffmann et al.'s runs, refitted by Besiroglu et al. 2024, arXiv:2404.10102, table 1",
    ),
    "bytes": Published(
        "chinchilla",
        {"E": 0.854, "A": 1000.0, "B": 41.55, "alpha": 0.785, "beta": 0.3156},
        Interval(4.2e4, 4.6e5),
        NoiseLevel(0.0056),
        "bytes of English, results/reference/quickstart, N = 42k to 461k",
    ),
}


@dataclass(frozen=True)
class Prior:
    """A law with the values that it is assumed to have, the noise about it, and where they are from; of
    values known by their ``ranges``, also others that are ``drawn`` from these. ``misfit``: the standard
    deviation of log loss, of the noise, that is the law's and not of repeated seeds."""

    law: Law
    params: Mapping[str, float]
    noise: NoiseLevel
    source: str
    ranges: Mapping[str, Interval] = field(default_factory=dict)
    drawn: tuple[Mapping[str, float], ...] = ()
    misfit: float = 0.0

    def __post_init__(self) -> None:
        if lacking := [name for name in self.law.names if name not in self.params]:
            message = f"prior of {self.law.name!r}: {', '.join(lacking)} not given"
            raise AnalysisError(Complaint(message, hint=f"give all of {', '.join(self.law.names)}"))

    @classmethod
    def published(cls, name: str, noise: NoiseLevel | None = None) -> Prior:
        """Take the prior of a name in ``PUBLISHED``. Raises AnalysisError."""
        if name not in PUBLISHED:
            message = f"prior {name!r} is unknown"
            raise AnalysisError(
                Complaint(message, hint=f"choose one of {', '.join(PUBLISHED)}, or give a fit")
            )
        of = PUBLISHED[name]
        return cls(require(of.law), of.params, noise or of.noise, of.source)

    @classmethod
    def nearest(cls, sizes: np.ndarray, noise: NoiseLevel | None = None) -> Prior:
        """Take the published prior of runs whose sizes N are nearest to ``sizes`` (n,)."""
        middle = float(np.log(sizes).mean())
        away = {name: abs(middle - float(np.log(of.sizes).mean())) for name, of in PUBLISHED.items()}
        return cls.published(min(away, key=away.__getitem__), noise)

    @classmethod
    def of_fit(cls, fit: Fit, source: str, noise: NoiseLevel | None = None) -> Prior:
        """Take the optimum of a usable fit, and the noise of its residuals, of which some may be misfit."""
        misfit = 0.0 if noise else misfit_in(fit)
        return cls(fit.law, dict(fit.solution), noise or noise_of(fit), source, misfit=misfit)

    def with_values(
        self, ranges: Mapping[str, tuple[float, float]], about: Mapping[str, np.ndarray] | None = None
    ) -> Prior:
        """Replace values by the middles of ``ranges``, in logs of coefficients; the ranges, and values drawn
        evenly from them, are kept beside.

        Args:
            ranges: by name; of one value both ends.
            about: inputs of runs (n,), at whose middle a term keeps its size where its exponent is given and
                its coefficient is not. Left out: the coefficient stays.

        Raises:
            AnalysisError: a name is no parameter, a range does not rise, or the law has no such values.
        """
        problems = [
            Complaint(
                f"{name} is no parameter of {self.law.name}", "prior", f"it has {', '.join(self.params)}"
            )
            for name in ranges
            if name not in self.params
        ]
        problems += [
            Complaint(f"{name} = {low:g}:{high:g} must rise", "prior", f"such as {name}={high:g}:{low:g}")
            for name, (low, high) in ranges.items()
            if not low <= high
        ]
        problems += [
            Complaint(f"{name} = {low:g}:{high:g} must lie within {least:g} to {most:g}", "prior")
            for name, (low, high) in ranges.items()
            if name in self.params and low <= high
            for least, most in [self.law.domain(name)]
            if not (least <= low and high <= most and (low > 0 or not self.law.in_log(name)))
        ]
        if problems:
            raise AnalysisError(problems)
        middles = {name: _middle(self.law, name, *ends) for name, ends in ranges.items()}
        wide = {name: Interval(*ends) for name, ends in ranges.items() if ends[0] < ends[1]}
        source = f"{self.source}; {', '.join(ranges)} as given"
        about = about or {}
        centre = {x: float(np.log(about[x]).mean()) for x in self.law.inputs if x in about}
        given = partial(self._given, centre=centre)
        drawn = tuple(given({**middles, **values}) for values in _drawn(self.law, wide))
        return replace(self, params=given(middles), ranges=wide, drawn=drawn, source=source)

    def _given(self, values: Mapping[str, float], centre: Mapping[str, float]) -> dict[str, float]:
        """The parameters with some ``values``; coefficients follow their exponents about the ``centre``, logs
        of inputs."""
        params = {**self.params, **values}
        for coefficient, powers in self.law.terms.items():
            if coefficient not in values:
                moved = sum((params[e] - self.params[e]) * centre.get(x, 0.0) for x, e in powers.items())
                params[coefficient] *= float(np.exp(moved))
        return params

    def others(self) -> Iterator[Prior]:
        """The priors with the values that are drawn."""
        for params in self.drawn:
            yield replace(self, params=params, drawn=())

    def losses(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """(n,) the law at the inputs."""
        return np.broadcast_to(self.law.values(self.params, inputs), np.shape(next(iter(inputs.values()))))

    def as_law(self, law: Law, inputs: Mapping[str, np.ndarray]) -> Prior:
        """Another law with the values that are nearest to this one on ``inputs`` (n,), which have those of
        both."""
        if law == self.law:
            return self
        own = {x: inputs[x] for x in law.inputs}
        if UNIQUE in own and UNIQUE not in self.law.inputs:
            own[UNIQUE] = inputs["D"]  # what this law says is of new tokens
        held = {name: value for name, value in REPEATED.items() if name in law.names}
        problem = Problem(law, own, self.losses(inputs), Loss(), fixed=held)
        found = problem.parameters(problem.shift(solve(problem).u, 1.0))
        values = dict(zip(problem.names, map(float, found), strict=True))
        drawn = tuple(other.as_law(law, inputs).params for other in self.others())
        source = f"{law.name} nearest to {self.law.name} of {self.source}"
        return Prior(law, values, self.noise, source, self.ranges, drawn)

    def to_dict(self) -> dict[str, Any]:
        return {
            "law": self.law.name,
            "params": dict(self.params),
            "noise": {"run": self.noise.run, "shared": self.noise.shared},
            "source": self.source,
            "ranges": {name: list(ends) for name, ends in self.ranges.items()},
        }


def _drawn(law: Law, ranges: Mapping[str, Interval]) -> Iterator[dict[str, float]]:
    """Values in even strata of each range (a Latin hypercube), those of coefficients in logs."""
    shares = stats.qmc.LatinHypercube(len(ranges), rng=0).random(DRAWS) if ranges else ()
    for row in shares:
        values = dict[str, float]()
        for share, (name, (low, high)) in zip(row, ranges.items(), strict=True):
            log = law.in_log(name) and low > 0
            values[name] = float(low * (high / low) ** share if log else low + share * (high - low))
        yield values


def _middle(law: Law, name: str, low: float, high: float) -> float:
    return float(np.sqrt(low * high)) if law.in_log(name) and low > 0 else 0.5 * (low + high)


def misfit_in(fit: Fit) -> float:
    """The standard deviation of the residuals of log loss beyond the noise of repeated seeds; 0 where none
    were repeated."""
    seeds = fit.noise.seeds
    beyond = fit.noise.sd**2 - seeds.sd_log**2 if seeds and np.isfinite(fit.noise.sd) else 0.0
    return float(np.sqrt(max(beyond, 0.0)))


def noise_of(fit: Fit, *, beside_misfit: bool = False) -> NoiseLevel:
    """Split the noise of runs into what those of a cluster share and what each has on its own, in the
    proportion of the mean product of two residuals of one cluster to their variance.

    Args:
        fit: whose residuals are split.
        beside_misfit: where seeds were repeated, count only as much noise as they differ by, no more than
            the residuals: what these are beyond that is misfit, which stands beside it
            (:func:`analysis.planning.field.misfit_of`).
    """
    r, cluster = fit.residuals, np.array(fit.data["cluster"])
    total = max(float(fit.noise.sd or SEEDS) ** 2, 1e-14)
    sums, squares, count = (np.bincount(cluster, v) for v in (r, r**2, np.ones(len(r))))
    pairs = float((count * (count - 1)).sum())
    shared = (
        float((sums**2 - squares).sum()) / pairs * len(r) / max(fit.noise.degrees or 1, 1) if pairs else 0.0
    )
    share = float(np.clip(shared / total, 0.0, 0.9))
    seeds = fit.noise.seeds
    noise = total if seeds is None or not beside_misfit else float(np.clip(seeds.sd_log**2, 1e-14, total))
    return NoiseLevel(float(np.sqrt((1 - share) * noise)), float(np.sqrt(share * noise)))
