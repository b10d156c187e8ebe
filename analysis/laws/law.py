"""Laws: names plus one formula. A short definition is all that fitting, intervals and prediction need.

Two ways to write one. ``terms``: a sum of coefficients times powers of the inputs, with derivatives in closed
form. ``function``: any formula of named parameters and inputs, written with operators and ``jax.numpy``,
whose derivatives jax takes inside a float64 scope of its own; no global setting changes::

    import jax.numpy as jnp
    from analysis import Law, fit

    def saturating(N, E, A, alpha, N0):
        return E + A * jnp.exp(-alpha * jnp.log1p(N / N0))

    LAW = Law("saturating", function=saturating, linear=("E", "A"), source="a notebook of mine",
              domains={"E": (0, 10), "A": (0, 1e3), "alpha": (0.01, 2), "N0": (1e3, 1e9)})
    print(fit(LAW, table))
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from analysis.errors import AnalysisError

EXPONENTS = (1e-3, 3.0)  # the domain of an exponent
DECADES = 1e4  # a positive domain at least this wide is searched in its logarithm
ZERO = -1e4  # the log of a coefficient that is 0: exp(ZERO) == 0.0, and ZERO * 0 == 0 unlike -inf
DARK = 1e-9  # of the highest rate: a rate of 0 counts as this, for kernels take its logarithm
# options of XLA for small programs, which cost more to compile than they ever run
QUICK: Any = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


@dataclass(frozen=True)
class Law:
    """A formula for the target of a run.

    ``terms``: coefficient -> {input: exponent}: L = sum of coefficient / prod input^exponent. An empty
    mapping is a constant, the irreducible loss; an exponent named twice is shared. Coefficients are >= 0,
    exponents lie in ``domains`` (default 0.001 .. 3).

    ``function``: called with every parameter and input by name, arrays that broadcast against each other; it
    must work row by row. Its parameters are the keys of ``domains`` (low, high), its inputs its other
    arguments (or ``inputs``, for a function of ``**names``); ``linear`` parameters may have infinite domains.

    Inputs N (parameters), D (tokens), C (FLOPs) follow the convention of a fit; M is D / N unless a column
    has that name; any other is a column of that name. A parameter is searched in its logarithm when it is
    linear and >= 0, or when its domain is positive and spans ``DECADES``. ``heavy``: a function of many
    floats for a row, whose derivatives are taken in one pass, few at a time.
    """

    name: str
    terms: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    source: str = ""
    domains: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    function: Callable[..., Any] | None = None
    linear: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    assumptions: str = ""
    text: str = ""
    heavy: bool = False

    def __post_init__(self) -> None:
        names = [x for powers in self.terms.values() for x in powers]
        if self.function is not None and not self.inputs:
            names = [x for x in inspect.signature(self.function).parameters if x not in self.domains]
        if not self.inputs:
            object.__setattr__(self, "inputs", tuple(dict.fromkeys(names)))
        if self.terms:
            object.__setattr__(self, "linear", tuple(self.terms))
        problems = self._problems()
        if problems:
            raise AnalysisError([f"law {self.name!r}: {problem}" for problem in problems])

    def _problems(self) -> list[str]:
        out = []
        if self.function is not None and (self.terms or not self.domains):
            out.append("give a function with the domains of its parameters, or terms, not both")
        for name in self.linear:
            if name not in self.names:
                out.append(
                    f"linear parameter {name!r} has no domain; its parameters are {', '.join(self.names)}"
                )
        for name, (low, high) in self.domains.items():
            if not low < high:
                out.append(f"the domain of {name!r} is ({low!r}, {high!r}); its ends must rise")
            elif name not in self.linear and not np.isfinite([low, high]).all():
                out.append(
                    f"the domain of {name!r} is ({low!r}, {high!r}); only a linear one may be infinite"
                )
        return out

    @property
    def exponents(self) -> tuple[str, ...]:
        """The parameters that do not enter linearly."""
        if self.terms:
            return tuple(dict.fromkeys(e for powers in self.terms.values() for e in powers.values()))
        return tuple(name for name in self.domains if name not in self.linear)

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.linear, *self.exponents) if self.terms else tuple(self.domains)

    @property
    def offset(self) -> str | None:
        """The name of the constant term, if there is one."""
        return next((c for c, powers in self.terms.items() if not powers), None)

    @property
    def formula(self) -> str:
        if not self.terms:
            return self.text or f"L = {self.name}({', '.join(self.inputs)})"
        parts = []
        for coefficient, powers in self.terms.items():
            below = " ".join(f"{x}^{e}" for x, e in powers.items())
            parts.append(f"{coefficient} / {below}" if below else coefficient)
        return "L = " + " + ".join(parts)

    def domain(self, name: str) -> tuple[float, float]:
        return self.domains.get(name, (0.0, np.inf) if name in self.linear else EXPONENTS)

    def in_log(self, name: str) -> bool:
        """Whether the parameter is searched, and its width judged, in its logarithm."""
        low, high = self.domain(name)
        if name in self.linear:
            return low >= 0
        return not self.terms and low > 0 and high >= DECADES * low

    def values(self, params: Mapping[str, Any], inputs: Mapping[str, Any]) -> np.ndarray:
        """The formula in float64; ``params`` and ``inputs`` broadcast against each other."""
        inputs = {x: np.asarray(inputs[x], float) for x in self.inputs}
        params = {name: np.asarray(params[name], float) for name in self.names}
        if self.terms:
            out = np.zeros(())
            for coefficient, powers in self.terms.items():
                shown = [params[e] * np.log(inputs[x]) for x, e in powers.items()]
                out = out + params[coefficient] * np.exp(-sum(shown)) if shown else out + params[coefficient]
            return np.asarray(out)
        if self.function is None:
            raise AnalysisError(f"law {self.name!r} is known by name only; give its Law to Fit.from_json")
        shape = np.broadcast_shapes(*(x.shape for x in (*params.values(), *inputs.values())))
        with float64(), in_words(self):
            out = np.asarray(self.function(**params, **inputs), float)
            check_shape(out.shape, shape)
        return out

    def to_dict(self) -> dict[str, Any]:
        shown: dict[str, Any] = {"name": self.name, "formula": self.formula}
        if self.terms:
            shown["terms"] = {c: dict(p) for c, p in self.terms.items()}
            bounded = (*self.exponents, *(c for c in self.linear if c in self.domains))
        else:
            shown |= {"inputs": list(self.inputs), "linear": list(self.linear)}
            bounded = self.names
        domains = {e: [b if np.isfinite(b) else None for b in self.domain(e)] for e in bounded}
        more = {"assumptions": self.assumptions} if self.assumptions else {}
        return {**shown, "domains": domains, "source": self.source, **more}


@contextmanager
def float64() -> Any:
    """A scope in which jax computes in float64 on the CPU; outside it nothing changes."""
    import jax

    with jax.enable_x64(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
        yield


@contextmanager
def in_words(law: Law) -> Any:
    """What a user's formula raises becomes an AnalysisError."""
    try:
        yield
    except Exception as error:  # whatever it may be
        first = (str(error).splitlines() or ["no message"])[0]
        hint = "write it with operators and jax.numpy, row by row; every argument needs a domain or a column"
        kind = type(error).__name__
        raise AnalysisError(f"law {law.name!r}: its function fails ({kind}: {first}); {hint}") from error


def check_shape(given: tuple[int, ...], shape: tuple[int, ...]) -> None:
    """Raises ValueError for a formula whose values do not belong to rows."""
    fits = len(given) <= len(shape) and all(
        a in (1, b) for a, b in zip(given[::-1], shape[::-1], strict=False)
    )
    if not fits:
        raise ValueError(f"it gives shape {given} for rows {shape}")
