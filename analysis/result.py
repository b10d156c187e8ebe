"""A fit as a frozen result: parameters with verdicts and intervals, predictions, text, JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.allocation import Cost, exponents
from analysis.errors import AnalysisError
from analysis.intervals import interval
from analysis.laws import Law
from analysis.tables import CONVENTIONS

SCHEMA = 1
CODES = ("ok", "partly_identified", "at_bound", "several_optima", "not_converged", "not_identified")


@dataclass(frozen=True)
class Fit:
    """What a table says about a law.

    ``params``: value where the verdict in ``identified`` is ``yes``, else None. ``solution``: every parameter
    at the optimum (empty if nothing is identified); predictions use it, claims should not.
    ``identified``: per parameter and for a, b (N* ~ C^a, D* ~ C^b) ``{verdict, reason[, bound]}``.
    ``data``: the rows fitted, as columns row, label, cluster, N, D, C, L, residual (log L - log law).
    ``noise``: standard deviations of log residuals (``sd_log``, with ``degrees``; ``robust_sd_log``) and of
    repeated seeds (``seeds``). ``replicates``: coordinates (logs of coefficients, exponents).
    """

    law: Law
    convention: str
    params: dict[str, float | None]
    solution: dict[str, float]
    status: dict[str, str]
    identified: dict[str, dict[str, Any]]
    intervals: dict[str, Any]
    objective: dict[str, Any]
    starts: dict[str, Any]
    excluded: tuple[dict[str, str], ...]
    optimum: dict[str, Any]
    fixed: dict[str, float]
    noise: dict[str, Any]
    data: dict[str, tuple[Any, ...]]
    notes: tuple[str, ...]
    replicates: tuple[tuple[float, ...], ...]

    @property
    def usable(self) -> bool:
        """Whether there is a law to predict with."""
        return bool(self.solution)

    @property
    def residuals(self) -> np.ndarray:
        """log loss - log law, one per fitted row."""
        return np.array(self.data["residual"])

    @property
    def level(self) -> float:
        return self.intervals["level"]

    def predict(self, rows: pd.DataFrame | Mapping[str, Any], *, level: float | None = None) -> pd.DataFrame:
        """Loss at ``rows``: a table of runs, or the inputs N, D, C (those the law needs).

        Columns: the inputs, ``loss``, ``low, high`` (confidence: the law), ``new_low, new_high`` (prediction:
        a new run, residual scale included), ``se_log`` (of the law) and ``extrapolation`` (C beyond the
        largest C fitted; empty where C is unknown). Raises AnalysisError.
        """
        self._need("predict")
        level = self.level if level is None else level
        inputs = self._inputs(rows)
        out = pd.DataFrame(inputs)
        point = np.exp(self.law.log_value(self.law.coordinates(self.solution), inputs))
        draws = np.exp(self.law.log_value(np.array(self.replicates), inputs))
        degrees = self.intervals["degrees"]
        bounds = [interval(p, draws[:, i], level, degrees) for i, p in enumerate(point)]
        out["loss"] = point
        out["low"], out["high"] = np.array(bounds).T
        deviations = np.log(draws) - np.log(point)
        out["se_log"] = np.sqrt(np.mean(deviations**2, axis=0))
        reach = stats.t.ppf(0.5 + level / 2, degrees) * np.hypot(out["se_log"], self.noise["sd_log"])
        out["new_low"], out["new_high"] = point * np.exp(-reach), point * np.exp(reach)
        out["extrapolation"] = out["C"] / max(self.data["C"]) if "C" in out else np.nan
        return out

    def optimal(self, flops: float | np.ndarray, *, level: float | None = None) -> pd.DataFrame:
        """Compute-optimal N* and D* at ``flops`` with intervals, and the loss there. C = kappa N^gamma D
        comes from the fitted table (``optimum["cost"]``). Raises AnalysisError."""
        self._need("say what is optimal")
        cost = Cost(**self.optimum["cost"]) if self.optimum else None
        found = cost and exponents(self.law, self.law.coordinates(self.solution), cost)
        if not cost or found is None:
            raise AnalysisError(
                f"law {self.law.name!r} has no optimal allocation; use one in N and D, as chinchilla"
            )
        level = self.level if level is None else level
        c = np.atleast_1d(np.asarray(flops, float))
        a, _, log_g = found
        n = np.exp(log_g + a * np.log(c))
        ra, _, rg = exponents(self.law, np.array(self.replicates), cost) or found
        draws = np.exp(rg[:, None] + ra[:, None] * np.log(c))
        bounds = [interval(p, draws[:, i], level, self.intervals["degrees"]) for i, p in enumerate(n)]
        d = cost.tokens(n, c)
        out = pd.DataFrame({"C": c, "N": n, "D": d})
        out["N_low"], out["N_high"] = np.array(bounds).T
        out["loss"] = np.exp(
            self.law.log_value(self.law.coordinates(self.solution), {"N": n, "D": d, "C": c})
        )
        return out

    def _need(self, what: str) -> None:
        if not self.usable:
            raise AnalysisError(f"fit of {self.law.name!r} cannot {what}: {self.status['message']}")

    def _inputs(self, rows: pd.DataFrame | Mapping[str, Any]) -> dict[str, np.ndarray]:
        size, per_token, _ = CONVENTIONS[self.convention]
        columns = {"N": size, "D": "tokens", "C": "flops"}
        out = {}
        for x in ("N", "D", "C"):
            key = x if x in rows else columns[x]
            if key in rows:
                out[x] = np.atleast_1d(np.asarray(rows[key], float))
        if per_token is not None and {"N", "D"} <= set(out):
            out["C"] = per_token * out["N"] * out["D"]
        missing = [x for x in self.law.inputs if x not in out]
        if missing:
            raise AnalysisError(
                f"prediction needs {', '.join(missing)} (columns {[columns[x] for x in missing]})"
            )
        return dict(zip(out, np.broadcast_arrays(*out.values()), strict=True))

    def summary(self) -> str:
        """The fit as text for a terminal."""
        from analysis.text import fit_text

        return fit_text(self)

    def __str__(self) -> str:
        return self.summary()

    def to_json(self) -> str:
        """JSON with a schema version; ``delta`` is null for least squares."""
        data = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "law"}
        return json.dumps({"schema": SCHEMA, "law": self.law.to_dict(), **data}, indent=1, allow_nan=False)

    @staticmethod
    def from_json(text: str) -> Fit:
        """The fit that ``to_json`` wrote. Raises AnalysisError on another schema or broken text."""
        try:
            data = json.loads(text)
            if data.pop("schema") != SCHEMA:
                raise AnalysisError(
                    f"fit: field 'schema' must be {SCHEMA}; fit the table again with this version"
                )
            data["law"] = Law.from_dict(data["law"])
            data["excluded"], data["notes"] = tuple(data["excluded"]), tuple(data["notes"])
            data["data"] = {k: tuple(v) for k, v in data["data"].items()}
            data["replicates"] = tuple(map(tuple, data["replicates"]))
            params = data["intervals"].get("params", {})
            data["intervals"]["params"] = {k: tuple(v) for k, v in params.items()}
            return Fit(**data)
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise AnalysisError(f"fit: not the JSON of a fit ({error}); write it with Fit.to_json") from error
