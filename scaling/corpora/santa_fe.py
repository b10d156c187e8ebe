"""Noisy facts with Zipf frequencies: a source whose loss is what has not been learnt yet.

The Santa Fe process states facts (Debowski, "On the vocabulary of grammar-based codes and the logical
consistency of texts", IEEE Trans. Inf. Theory 57, 2011; as a model of scaling laws: arXiv:2302.09049):
statement i is (K_i, Z of fact K_i), with K_i drawn independently from a Zipf law and each Z a fair coin
tossed once. Here

- Zipf is dyadic: level l = 0 .. levels - 1 has probability q(l), proportional to 2^(-alpha l), and 2^l facts
  of equal probability, so that the fact of rank k has one of about k^-(1 + alpha);
- a fact is ``value_bits`` fair coins, a pure function of (seed, level, place in the level);
- a statement shows each coin flipped with probability ``noise``, each time anew.

A statement is two tokens or more: a first token that says level and leading digits of the place, as many
digits of ``address_bits`` bits as are left, and a token of the value. Windows begin with a statement.

**Entropy.** For who knows all facts a statement holds H(q) + sum_l q(l) l ln 2 + value_bits h(noise) nats,
h(p) = -p ln p - (1 - p) ln(1 - p). Divided by the mean length of a statement this is the rate. In a window
the place of a statement's tokens is a renewal process, so that the entropy of finite contexts is exact too.

**Oracle.** Who has seen n statements has seen c ~ Binomial(n, q(l) / 2^l) of a fact of level l, and loses at
each coin of its next statement g(c) = H(X_(c+1) | X_1 .. X_c) - h(noise) more, X being looks at a fair coin
through the noise. Without noise g(0) = ln 2 and g(c) = 0 for c > 0. The excess is
value_bits sum_l q(l) E g(c), which falls as n^(-alpha / (1 + alpha)) while n is far below 1 / p of the last
level. Who can hold the k most frequent facts alone is left with value_bits g(0) sum of the others'
probabilities: k^-alpha. (The same sums are in Hutter, "Learning curve theory", arXiv:2102.04074, and Michaud
et al., "The quantization model of neural scaling", arXiv:2303.13506.)
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import Field

from scaling.corpora.generated import GeneratedCorpus
from scaling.recipe.quantities import Positive, Real, Whole

if TYPE_CHECKING:
    import numpy as np

    from scaling.corpora.draws import Table

LN2 = math.log(2)
FACTS, WINDOWS = 1, 2  # what a key derived from the seed is for
CERTAIN = 1e-12  # nats: a coin this well known is known


class SantaFe(GeneratedCorpus):
    """Statements of noisy facts whose frequencies follow Zipf's law."""

    kind: Literal["santa-fe"]
    levels: Annotated[Whole, Field(ge=1, le=31)] = 28
    """Level l holds 2^l facts. With fewer than 28 the exponents bend early."""
    alpha: Annotated[Positive, Field(ge=0.05, le=4)] = 0.5
    """The fact of rank k has a frequency of about k^-(1 + alpha)."""
    value_bits: Annotated[Whole, Field(ge=1, le=10)] = 8
    """What is to be learnt of a fact."""
    noise: Annotated[Real, Field(ge=0, le=0.45)] = 0.02
    """With what probability a bit of a value is shown wrong. Nearer 0.5 facts take too many looks."""
    address_bits: Annotated[Whole, Field(ge=1, le=12)] = 8
    """Bits of a fact's address in one token: more means shorter statements and a larger vocabulary."""

    @property
    def first_tokens(self) -> int:
        """Tokens that a statement may begin with: levels, with the digits that do not fill a token."""
        whole, rest = divmod(self.levels, self.address_bits)
        return whole * (2**self.address_bits - 1) + 2**rest - 1

    @property
    def most_digits(self) -> int:
        return (self.levels - 1) // self.address_bits

    @property
    def vocab_size(self) -> int:
        address_bits = self.address_bits if self.most_digits else 0
        return self.first_tokens + 2 ** max(address_bits, self.value_bits)

    @cached_property
    def _law(self) -> Law:
        import numpy as np

        from scaling.corpora.draws import Table

        level = np.arange(self.levels)
        levels = Table(2.0 ** (-self.alpha * level))
        ones = np.bitwise_count(np.arange(2**self.value_bits))
        flips = Table(self.noise**ones * (1 - self.noise) ** (self.value_bits - ones))
        leading = float(level % self.address_bits @ levels.probabilities)
        return Law(levels, flips, levels.entropy + leading * LN2)

    @cached_property
    def _ignorance(self) -> np.ndarray:
        """g(c) for c = 0, 1, ..., until a coin is as good as known; takes seconds at the highest noise."""
        return _ignorance(self.noise)

    def entropy(self, context: int | None = None) -> float:
        law, shares = self._law, self._shares(context)
        return float(
            shares.first * law.first_entropy
            + shares.digits * self.address_bits * LN2
            + shares.values * law.flips.entropy
        )

    def _shares(self, context: int | None) -> Shares:
        """Return the shares of tokens in windows, or (None) in a text without end."""
        import numpy as np

        digits = np.arange(self.levels) // self.address_bits
        with_digits = np.bincount(digits, weights=self._law.levels.probabilities)  # P(so many digits)
        longer = with_digits[::-1].cumsum()[::-1][1:]  # P(a digit in slot 1, 2, ...)
        if context is None:
            length = 2 + float(longer.sum())
            return Shares(1 / length, float(longer.sum()) / length, 1 / length)
        begins = np.zeros(context + 1)
        begins[0] = 1
        for t in range(2, context + 1):
            back = np.arange(min(len(with_digits), t - 1))
            begins[t] = with_digits[back] @ begins[t - 2 - back]
        values, between = np.zeros((2, context + 1))
        for c, p in enumerate(with_digits):
            values += p * _delayed(begins, c + 1)
        for j, p in enumerate(longer):
            between += p * _delayed(begins, j + 1)
        first, digit, value = (float(np.mean(x[1:])) for x in (begins, between, values))
        return Shares(first, digit, value)

    def oracle(self, tokens: float, context: int, facts: float = float("inf")) -> float:
        """Return the exact expected loss in nats per token after training on ``tokens`` predicted tokens of
        windows of ``context``, for who can hold the ``facts`` most frequent facts.

        It knows the law except for the facts, remembers all it was trained on, and nothing of the window
        that it predicts (which would help with facts that a window states twice).
        """
        import numpy as np

        law, values = self._law, self._shares(context).values
        level = np.arange(self.levels)
        ignorance = self._ignorance
        excess = _mean_ignorance(ignorance, round(tokens * values), law.levels.probabilities / 2.0**level)
        known = np.clip((facts + 1 - 2.0**level) / 2.0**level, 0, 1)
        lost = law.levels.probabilities @ (known * excess + (1 - known) * ignorance[0])
        return self.entropy(context) + float(values * self.value_bits * lost)

    def _windows(self, words: tuple[Any, Any], context: int, xp: Any) -> Any:
        from scaling.corpora.draws import pair, threefry

        law, bits = self._law, self.address_bits
        window = threefry(threefry(pair(self.seed, xp), pair(WINDOWS, xp)), words)
        count = context // 2 + 1  # a statement has two tokens or more
        number = xp.arange(count, dtype=xp.uint32)[None, :]
        zero = xp.zeros_like(number)
        at, where = threefry(window, (zero, number))
        level = law.levels.draw(at, xp).astype(xp.uint32)
        place = (where >> 1) >> (31 - level)
        value, _ = threefry(threefry(pair(self.seed, xp), pair(FACTS, xp)), (level, place))
        value = value & (2**self.value_bits - 1)
        if self.noise:
            flips, _ = threefry(window, (zero + 1, number))
            value = value ^ law.flips.draw(flips, xp).astype(xp.uint32)
        digits = level // bits
        first = (
            digits * (2**bits - 1)
            + ((xp.ones_like(level) << (level % bits)) - 1)
            + (place >> (bits * digits))
        )
        slots = [first]
        for slot in range(1, self.most_digits + 2):
            shift = bits * (digits - slot)  # wraps where slot > digits, and is not used there
            digit = (place >> (shift & 31)) & (2**bits - 1)
            slots.append(self.first_tokens + xp.where(slot == digits + 1, value, digit))
        return _laid_out(slots, digits + 2, context + 1, xp)

    def nats(self, windows: np.ndarray) -> np.ndarray:
        import numpy as np

        from scaling.corpora.draws import pair, threefry

        law, bits = self._law, self.address_bits
        here = np.arange(windows.shape[1])[None, :]
        start = np.maximum.accumulate(np.where(windows < self.first_tokens, here, 0), axis=1)
        first = np.take_along_axis(windows, start, axis=1)
        digits, lead = np.divmod(first, 2**bits - 1)
        rest = np.log2(lead + 1).astype(np.int64)
        place = lead + 1 - (1 << rest)
        for slot in range(1, self.most_digits + 1):
            at = np.minimum(start + slot, windows.shape[1] - 1)
            digit = np.take_along_axis(windows, at, axis=1) - self.first_tokens
            place = np.where(slot <= digits, (place << bits) | (digit & (2**bits - 1)), place)
        level = digits * bits + rest
        key = threefry(pair(self.seed), pair(FACTS))
        value, _ = threefry(key, (level.astype(np.uint32), place.astype(np.uint32)))
        flipped = (value & (2**self.value_bits - 1)) ^ np.maximum(windows - self.first_tokens, 0).astype(
            np.uint32
        )
        wrong = np.minimum(flipped, 2**self.value_bits - 1)
        with np.errstate(divide="ignore"):
            of_first = rest * LN2 - np.log(law.levels.probabilities[level])
            of_value = -np.log(law.flips.probabilities[wrong])
        slot = here - start
        cost = np.where(slot == 0, of_first, np.where(slot == digits + 1, of_value, bits * LN2))
        return cost[:, 1:]


class Law(NamedTuple):
    """What follows from the fields: distributions of levels and of flipped bits, and the entropy of a first
    token."""

    levels: Table
    flips: Table
    first_entropy: float


class Shares(NamedTuple):
    """Of predicted tokens: those that begin a statement, further digits, values."""

    first: float
    digits: float
    values: float


def _delayed(series: np.ndarray, by: int) -> np.ndarray:
    import numpy as np

    return np.concatenate([np.zeros(min(by, len(series))), series[: max(0, len(series) - by)]])


def _ignorance(noise: float) -> np.ndarray:
    """Return g(c): how many nats more than h(noise) the next look at a coin costs after c looks."""
    import numpy as np
    from scipy.special import expit
    from scipy.stats import binom

    if noise == 0:
        return np.array([LN2, 0.0])
    known = -noise * np.log(noise) - (1 - noise) * np.log1p(-noise)
    costs: list[float] = []
    while not costs or costs[-1] > CERTAIN:
        c = len(costs)
        right = np.arange(c + 1)
        odds = (2.0 * right - c) * (np.log1p(-noise) - np.log(noise))
        says = noise + (1 - 2 * noise) * expit(odds)  # P(next look shows the true side | looks)
        true = binom.pmf(right, c, 1 - noise)
        costs.append(float(-(true * ((1 - noise) * np.log(says) + noise * np.log1p(-says))).sum() - known))
    return np.array(costs)


def _mean_ignorance(ignorance: np.ndarray, statements: int, probabilities: np.ndarray) -> np.ndarray:
    """Return E g(c) for c ~ Binomial(statements, p), for each p."""
    import numpy as np
    from scipy.stats import binom

    seen = np.arange(len(ignorance))
    return np.array([binom.pmf(seen, statements, p) @ ignorance for p in probabilities])


def _laid_out(slots: list[Any], lengths: Any, tokens: int, xp: Any) -> Any:
    """Write statements one after another: ``slots`` are their tokens, of which the first ``lengths`` count,
    each (n, statements); return int32 (n, tokens)."""
    starts = xp.cumsum(lengths.astype(xp.int32), axis=1) - lengths.astype(xp.int32)
    rows = xp.arange(len(starts))[:, None]
    column = xp.minimum(starts, tokens)
    begins = xp.zeros((len(starts), tokens + 1), xp.int32)
    if hasattr(begins, "at"):  # jax has no assignment to items
        begins = begins.at[rows, column].set(1)
    else:
        begins[rows, column] = 1
    statement = xp.cumsum(begins[:, :tokens], axis=1, dtype=xp.int32) - 1
    slot = xp.arange(tokens, dtype=xp.int32)[None, :] - xp.take_along_axis(starts, statement, axis=1)
    table = xp.stack(slots, axis=-1).astype(xp.int32).reshape(len(starts), -1)
    return xp.take_along_axis(table, statement * len(slots) + slot, axis=1)
