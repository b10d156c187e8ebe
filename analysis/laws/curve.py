"""Laws of whole curves: from a schedule of learning rates to the loss after every update.

A curve law bound to schedules is a :class:`~analysis.Law` in the inputs ``curve`` (which schedule) and
``step`` (updates made), so that it gets all that a law gets: starts, exact derivatives, intervals. Fitting
one is ``fit(law, table, schedules=schedules)``; :mod:`analysis.training_curves` predicts with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError, some
from analysis.laws.law import DARK, QUICK, Law, check_shape
from analysis.tables.reading import numbers, shown

INPUTS = ("curve", "step")  # of a law bound to schedules
BLOCK = 2_000_000  # losses that a batch of replicates may take


@dataclass(frozen=True)
class CurveLaw:
    """``function``: called with learning rates (curves, T), one an update, and by name with every parameter
    (curves, 1); gives the losses (curves, T) after each update. It is written with operators and
    ``jax.numpy``; a curve is no function of another. ``domains, linear, source, assumptions, text`` are those
    of :class:`~analysis.Law`.

    ``kernel`` instead, for L = L0 + A S1^-alpha + B times the sum of (rate_k - rate_(k-1)) kernel over the
    updates k so far, S1 the sum of the rates, ``linear`` = (L0, A, B) by any names: called with the log of
    rate_k, of the sum of the rates from k on, the count of updates from k on, and by place with all further
    parameters, in the order of ``domains``; elementwise and smooth. ``from_zero``: the first rate is a change
    from 0. Only the steps asked for are computed, each in about 20 log T terms, to 1e-10 of all changes."""

    name: str
    function: Callable[..., Any] | None = None
    domains: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    linear: tuple[str, ...] = ()
    source: str = ""
    assumptions: str = ""
    text: str = ""
    kernel: Callable[..., Any] | None = None
    from_zero: bool = False

    def __post_init__(self) -> None:
        if (self.function is None) == (self.kernel is None):
            raise AnalysisError(f"curve law {self.name!r}: give a function of rates, or a kernel, not both")
        if self.kernel is not None and (
            len(self.linear) != 3 or "alpha" not in self.domains or len(self.own) < 1
        ):
            raise AnalysisError(
                f"curve law {self.name!r}: a kernel needs three linear parameters (offset, coefficients of "
                "the power and of the sum), a domain of alpha and one of each parameter of the kernel"
            )

    @property
    def own(self) -> tuple[str, ...]:
        """The parameters of the kernel."""
        return tuple(name for name in self.domains if name not in (*self.linear, "alpha"))

    def on(self, schedules: Mapping[str, Any], at: tuple[Any, Any] | None = None) -> Law:
        """The law of these schedules: ``curve`` is the place in ``schedules``, ``step`` counts updates from
        1. A kernel is bound to the (curves, steps) ``at``, left out: to all, and is nan elsewhere. Raises
        AnalysisError."""
        rates = checked(schedules)
        one, size = self._by_function(rates) if self.kernel is None else self._by_kernel(rates, at)
        most = max(1, BLOCK // size)

        @cache
        def batched() -> Any:
            import jax

            return jax.jit(jax.vmap(lambda *x: one(*x, False)), compiler_options=QUICK)

        def rows(curve: Any, step: Any, **params: Any) -> Any:
            import jax.numpy as jnp

            given = {"curve": curve, "step": step, **params}
            wide = dict(zip(given, jnp.broadcast_arrays(*map(jnp.atleast_1d, given.values())), strict=True))
            shape = wide["step"].shape
            if len(shape) == 1:
                return one(wide.pop("curve"), wide.pop("step"), wide, True)
            flat = [np.asarray(v).reshape(-1, shape[-1]) for v in wide.values()]
            size, parts = min(most, 1 << (len(flat[0]) - 1).bit_length()), []
            for i in range(0, len(flat[0]), size):  # blocks of few sizes: each is compiled once
                block = [np.resize(v[i : i + size], (size, shape[-1])) for v in flat]
                parts.append(batched()(*block[:2], dict(zip(params, block[2:], strict=True))))
            return np.concatenate(parts)[: len(flat[0])].reshape(shape)

        return Law(
            self.name, function=rows, domains=self.domains, linear=self.linear, inputs=INPUTS,
            source=self.source, assumptions=self.assumptions, heavy=self.kernel is not None,
            text=self.text or f"L(step) = {self.name}(learning rates)",
        )  # fmt: skip

    def _by_function(self, rates: list[np.ndarray]) -> tuple[Callable[..., Any], int]:
        """(curve, step, parameters, whether derivatives will be taken) -> losses, and floats of a call, here
        all losses of all curves. A shorter schedule is padded with rate 0, where nobody asks."""
        longest = max(map(len, rates))
        padded = np.array([np.pad(x, (0, longest - len(x))) for x in rates])

        function: Any = self.function

        def one(curve: Any, step: Any, values: dict[str, Any], _: bool) -> Any:
            import jax.numpy as jnp

            curve, step = curve.astype(int), step.astype(int)
            losses = jnp.asarray(function(jnp.asarray(padded), **_per_curve(curve, values, len(rates), 1)))
            check_shape(losses.shape, padded.shape)
            return jnp.broadcast_to(losses, padded.shape)[curve, step - 1]

        return one, padded.size

    def _by_kernel(
        self, rates: list[np.ndarray], at: tuple[Any, Any] | None
    ) -> tuple[Callable[..., Any], int]:
        from analysis.laws.kernel_sums import Sums  # imports scipy

        if at is None:
            places = [np.full(len(x), i) for i, x in enumerate(rates)]
            at = np.concatenate(places), np.concatenate([np.arange(1, len(x) + 1) for x in rates])
        kernel: Any = self.kernel
        far = max(map(len, rates)) + 1
        keys = np.unique(np.asarray(at[0]).astype(int) * far + np.asarray(at[1]).astype(int))
        domains = {name: self.domains[name] for name in self.own}
        sums = Sums(tuple(rates), keys // far, keys % far, kernel, domains, self.from_zero)

        def one(curve: Any, step: Any, values: dict[str, Any], derivatives: bool) -> Any:
            import jax.numpy as jnp

            curve, step = curve.astype(int), step.astype(int)
            params = {n: v[sums.curve] for n, v in _per_curve(curve, values, len(rates), 0).items()}
            offset, power, scale = (params[name] for name in self.linear)
            changed = sums([params[name] for name in self.own], derivatives=derivatives)
            losses = offset + power * jnp.asarray(sums.areas) ** -params["alpha"] + scale * changed
            asked = curve * far + step
            place = jnp.clip(jnp.searchsorted(jnp.asarray(keys), asked), 0, len(keys) - 1)
            return jnp.where(jnp.asarray(keys)[place] == asked, losses[place], jnp.nan)

        return one, sums.blocks[-1].size

    def losses(self, rates: Any, steps: Any, params: Mapping[str, Any]) -> Any:
        """The losses of one schedule (T,) after ``steps`` (n,), in jax, differentiable in rates and
        parameters (numbers); a kernel's terms are summed one by one."""
        import jax.numpy as jnp

        if self.function is not None:
            return self.function(rates[None], **{n: jnp.full((1, 1), v) for n, v in params.items()})[
                0, steps - 1
            ]
        rates = jnp.maximum(rates, DARK * rates.max())
        sums = jnp.cumsum(rates)
        changes = jnp.diff(rates, prepend=0.0 if self.from_zero else rates[0])
        offset, power, scale = (params[name] for name in self.linear)
        k, t = jnp.arange(len(rates)), steps[:, None]
        area = jnp.where(k < t, sums[t - 1] - sums + rates, 1.0)
        kernel: Any = self.kernel
        worth = kernel(
            jnp.log(rates), jnp.log(area), jnp.where(k < t, t - k, 1), *(params[n] for n in self.own)
        )
        return (
            offset + power * sums[steps - 1] ** -params["alpha"] + scale * (changes * worth * (k < t)).sum(1)
        )

    def of_table(
        self, table: pd.DataFrame, schedules: Mapping[str, Any], curve: str = "curve"
    ) -> tuple[Law, pd.DataFrame]:
        """Bind the law to the rows of ``table``: ``curve``, a name of ``schedules``; ``step``, updates made,
        from 1; ``loss``. The table comes back with the curve's place in its column ``curve``. Raises
        AnalysisError."""
        missing = [c for c in (curve, "step") if c not in table.columns]
        if missing:
            raise AnalysisError(
                f"columns {some(map(repr, missing))} are missing; a table of curves needs {curve!r}, 'step' "
                f"and a loss; here: {some(table.columns)}"
            )
        names: Any = table[curve].astype(str)
        index = names.map({str(name): i for i, name in enumerate(schedules)})
        step, _ = numbers(table["step"])
        longest = index.map(dict(enumerate(map(len, schedules.values())))).to_numpy(float)
        checked(schedules)
        problems = []
        if index.isna().any():
            unknown = some(sorted(set(names[index.isna()])))
            problems.append(f"curves {unknown} have no schedule; schedules: {some(schedules)}")
        with np.errstate(invalid="ignore"):
            bad = ~((step >= 1) & (step <= longest) & (step % 1 == 0)) & index.notna().to_numpy()
        if bad.any():
            problems.append(
                f"column 'step': {shown(table, bad, step)}: must be a whole number from 1 to the length of "
                "the curve's schedule"
            )
        if problems:
            raise AnalysisError(problems)
        return self.on(schedules, (index, step)), table.assign(curve=index.to_numpy(float))


def _per_curve(curve: Any, values: Mapping[str, Any], curves: int, trailing: int) -> dict[str, Any]:
    """Parameters (curves, 1, ...) of those of rows, where groups have their own: each curve's first row's."""
    import jax.numpy as jnp

    first = jnp.argmax(curve[None] == jnp.arange(curves)[:, None], axis=1)
    return {name: v[first].reshape(curves, *[1] * trailing) for name, v in values.items()}


def checked(schedules: Mapping[str, Any]) -> list[np.ndarray]:
    """The rates (T,) of each schedule. Raises AnalysisError."""
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
    return list(rates.values())


def span(schedules: Mapping[str, Any]) -> dict[str, Any]:
    """The lowest rate after the peaks, the highest, and the most updates, for what is predicted of others."""
    rates = checked(schedules)
    return {
        "lowest_rate": min(float(x[x.argmax() :].min()) for x in rates),
        "highest_rate": float(max(x.max() for x in rates)),
        "updates": max(map(len, rates)),
    }
