"""Laws of whole curves: from a schedule of learning rates to the loss after every update.

A curve law bound to schedules is a :class:`~analysis.laws.Law` in the inputs ``curve`` (which schedule) and
``step`` (updates made), so that it gets all that a law gets: starts, exact derivatives, intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.fitting import fit
from analysis.laws import Law, check_shape
from analysis.models import QUICK
from analysis.prediction import Prediction
from analysis.reading import numbers, shown, some
from analysis.result import Fit

BLOCK = 2_000_000  # losses that a batch of replicates may take


@dataclass(frozen=True)
class CurveLaw:
    """``function``: called with learning rates (curves, T), one an update, and by name with every parameter
    (curves, 1); gives the losses (curves, T) after each update. It is written with operators and
    ``jax.numpy``; a curve is no function of another. ``domains, linear, source, assumptions, text`` are those
    of :class:`~analysis.laws.Law`."""

    name: str
    function: Callable[..., Any]
    domains: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    linear: tuple[str, ...] = ()
    source: str = ""
    assumptions: str = ""
    text: str = ""

    def on(self, schedules: Mapping[str, Sequence[float] | np.ndarray]) -> Law:
        """The law of these schedules: ``curve`` is the place in ``schedules``, ``step`` counts updates from
        1. Raises AnalysisError."""
        rates = _padded(schedules)
        most = max(1, BLOCK // rates.size)

        def one(curve: Any, step: Any, values: dict[str, Any]) -> Any:
            import jax.numpy as jnp

            curve, step = curve.astype(int), step.astype(int)
            # parameters are those of rows, where groups have their own: each curve takes its first row's
            first = jnp.argmax(curve[None] == jnp.arange(len(rates))[:, None], axis=1)
            found = self.function(jnp.asarray(rates), **{n: v[first][:, None] for n, v in values.items()})
            found = jnp.asarray(found)
            check_shape(found.shape, rates.shape)
            return jnp.broadcast_to(found, rates.shape)[curve, step - 1]

        @cache
        def batched() -> Any:
            import jax

            return jax.jit(jax.vmap(one), compiler_options=QUICK)

        def rows(curve: Any, step: Any, **params: Any) -> Any:
            import jax.numpy as jnp

            given = {"curve": curve, "step": step, **params}
            wide = dict(zip(given, jnp.broadcast_arrays(*map(jnp.atleast_1d, given.values())), strict=True))
            shape = wide["step"].shape
            if len(shape) == 1:
                return one(wide.pop("curve"), wide.pop("step"), wide)
            flat = [np.asarray(v).reshape(-1, shape[-1]) for v in wide.values()]
            size, parts = min(most, 1 << (len(flat[0]) - 1).bit_length()), []
            for i in range(0, len(flat[0]), size):  # blocks of few sizes: each is compiled once
                block = [np.resize(v[i : i + size], (size, shape[-1])) for v in flat]
                parts.append(batched()(*block[:2], dict(zip(params, block[2:], strict=True))))
            return np.concatenate(parts)[: len(flat[0])].reshape(shape)

        return Law(
            self.name, function=rows, domains=self.domains, linear=self.linear, inputs=("curve", "step"),
            source=self.source, assumptions=self.assumptions,
            text=self.text or f"L(step) = {self.name}(learning rates)",
        )  # fmt: skip

    def fit(
        self, table: pd.DataFrame, schedules: Mapping[str, Any], *, curve: str = "curve", **options: Any
    ) -> Fit:
        """Fit the losses of ``table``, rows of (``curve``, a name of ``schedules``; ``step``, updates made,
        from 1; ``loss``). ``options`` are those of :func:`analysis.fit`; losses of one curve share noise, and
        intervals cluster by it unless ``cluster`` says otherwise. Raises AnalysisError."""
        law, frame = self.on(schedules), table.copy()
        missing = [c for c in (curve, "step") if c not in frame.columns]
        if missing:
            raise AnalysisError(
                f"columns {some(map(repr, missing))} are missing; a table of curves needs {curve!r}, 'step' "
                f"and a loss; here: {some(frame.columns)}"
            )
        names: Any = frame[curve].astype(str)
        index = names.map({str(name): i for i, name in enumerate(schedules)})
        step, _ = numbers(frame["step"])
        longest = index.map(dict(enumerate(map(len, schedules.values())))).to_numpy(float)
        problems = []
        if index.isna().any():
            unknown = some(sorted(set(names[index.isna()])))
            problems.append(f"curves {unknown} have no schedule; schedules: {some(schedules)}")
        with np.errstate(invalid="ignore"):
            bad = ~((step >= 1) & (step <= longest) & (step % 1 == 0)) & index.notna().to_numpy()
        if bad.any():
            problems.append(
                f"column 'step': {shown(frame, bad, step)}: must be a whole number from 1 to the length of "
                "the curve's schedule"
            )
        if problems:
            raise AnalysisError(problems)
        frame["curve"] = index.to_numpy(float)
        return fit(law, frame, **{"cluster": "curve", **options})

    def predict(
        self,
        fitted: Fit,
        schedule: Sequence[float] | np.ndarray,
        *,
        steps: Sequence[int] | None = None,
        level: float | None = None,
        group: str | None = None,
    ) -> Prediction:
        """Losses of a schedule, run or not, after ``steps`` updates (left out: all), with the intervals of
        :meth:`Fit.predict`. Raises AnalysisError."""
        if fitted.law.name != self.name:
            raise AnalysisError(f"the fit is of law {fitted.law.name!r}, not of curve law {self.name!r}")
        law = self.on({"asked": schedule})
        at = np.arange(1, len(schedule) + 1) if steps is None else np.asarray(steps)
        if not len(at) or at.min() < 1 or at.max() > len(schedule) or (at % 1 != 0).any():
            raise AnalysisError(
                f"steps must be whole numbers from 1 to {len(schedule)}, this schedule's length"
            )
        asked: dict[str, Any] = {"curve": np.zeros(len(at)), "step": at}
        if group is not None:
            asked[str(fitted.setup["groups"])] = np.full(len(at), group)
        return replace(fitted, law=law).predict(asked, level=level)


def _padded(schedules: Mapping[str, Any]) -> np.ndarray:
    """(curves, longest) rates; a shorter schedule goes on at rate 0, where nobody asks."""
    try:
        rates = {str(name): np.asarray(x, float) for name, x in schedules.items()}
    except (TypeError, ValueError) as error:
        raise AnalysisError(f"schedules: {error}; give one learning rate for every update") from error
    problems = [] if rates else ["schedules: none given; name each curve's learning rates"]
    for name, x in rates.items():
        if x.ndim != 1 or not len(x):
            problems.append(f"schedule {name!r} has shape {x.shape}; give one learning rate for every update")
        elif not np.isfinite(x).all() or x.min() < 0 or x[0] == 0:
            i = int(np.argmax(~np.isfinite(x) | (x < 0) | (np.arange(len(x)) == 0) & (x == 0)))
            problems.append(
                f"schedule {name!r}: learning rate {x[i]:g} of update {i + 1}: rates are finite and >= 0, "
                "the first above 0 (leave out updates at rate 0 that a warmup begins with)"
            )
    if problems:
        raise AnalysisError(problems)
    longest = max(map(len, rates.values()))
    return np.array([np.pad(x, (0, longest - len(x))) for x in rates.values()])
