"""A Markov chain over a large vocabulary of Zipf frequencies, with few likely successors of each token.

The next token of a text follows the present one with probability ``follow``: it is then one of the
``successors`` tokens that (seed, present token) gave it once, each equally likely, and drawn themselves from
Zipf's law. Otherwise it is drawn from Zipf's law, k^-(1 + alpha), anew. So

    P(j | i) = (1 - follow) zipf(j) + follow * (how often j is among the successors of i) / successors.

**Entropy.** The rate of a stationary chain is sum_i mu(i) H(P(. | i)), mu = mu P (Cover and Thomas, "Elements
of Information Theory", 2nd edition, theorem 4.2.4). mu is found by power iteration, whose error shrinks by
``follow`` or more in each step since the rest of P does not depend on i; H(P(. | i)) needs the successors
of i alone besides sums over zipf. Windows begin with a token drawn from mu, so that the entropy of each later
token given all before it is the rate, whatever the context.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import Field

from scaling.corpora.generated import GeneratedCorpus
from scaling.recipe.quantities import Positive, Real, Whole

if TYPE_CHECKING:
    import numpy as np

    from scaling.corpora.draws import Table

SUCCESSORS, WINDOWS = 1, 2  # what a key derived from the seed is for
CONVERGED = 1e-14  # sum of absolute changes of the stationary distribution in one step


class ZipfMarkov(GeneratedCorpus):
    """A Markov chain over a large vocabulary with Zipf frequencies."""

    kind: Literal["zipf-markov"]
    states: Annotated[Whole, Field(ge=2, le=65536)] = 4096
    """Tokens of the vocabulary."""
    alpha: Annotated[Positive, Field(ge=0.05, le=4)] = 0.2
    """The token of rank k has a frequency of about k^-(1 + alpha)."""
    successors: Annotated[Whole, Field(ge=1, le=64)] = 4
    """Tokens that are likely after a token."""
    follow: Annotated[Real, Field(ge=0, le=0.99)] = 0.75
    """With what probability one of them comes next."""

    @property
    def vocab_size(self) -> int:
        return self.states

    @cached_property
    def _law(self) -> Law:
        import numpy as np
        from scipy.sparse import csr_array

        from scaling.corpora.draws import WORD, Table, pair, threefry

        zipf = Table(np.arange(1, self.states + 1) ** -(1.0 + self.alpha))
        choice = Table(np.ones(self.successors))
        present = np.arange(self.states, dtype=np.uint32)[:, None]
        number = np.arange(self.successors, dtype=np.uint32)[None, :]
        likely = zipf.draw(threefry(threefry(pair(self.seed), pair(SUCCESSORS)), (present, number))[0])
        threshold = round(self.follow * WORD)
        follow = threshold / WORD
        chances = np.tile(follow * choice.probabilities, self.states)
        bounds = np.arange(self.states + 1) * self.successors
        sparse = csr_array((chances, likely.ravel(), bounds), shape=(self.states, self.states))
        sparse.sum_duplicates()
        background = (1 - follow) * zipf.probabilities
        stationary, change = zipf.probabilities, 1.0
        while change > CONVERGED:
            after = background + sparse.T @ stationary
            after /= after.sum()
            stationary, change = after, float(np.abs(after - stationary).sum())
        return Law(zipf, choice, likely, threshold, background, sparse, stationary, Table(stationary))

    def entropy(self, context: int | None = None) -> float:
        import numpy as np

        law = self._law
        alone = _minus_p_log_p(law.background)
        there = law.background[law.sparse.indices]
        changed = _minus_p_log_p(there + law.sparse.data) - _minus_p_log_p(there)
        by_state = alone.sum() + np.add.reduceat(changed, law.sparse.indptr[:-1])
        return float(law.stationary @ by_state)

    def nats(self, windows: np.ndarray) -> np.ndarray:
        import numpy as np

        from scaling.corpora.draws import WORD

        law = self._law
        present, coming = windows[:, :-1], windows[:, 1:]
        hits = (law.likely[present] == coming[:, :, None]) @ law.choice.probabilities
        return -np.log(law.background[coming] + law.threshold / WORD * hits)

    def _windows(self, words: tuple[Any, Any], context: int, xp: Any) -> Any:
        import numpy as np

        from scaling.corpora.draws import pair, threefry

        law = self._law
        window = threefry(threefry(pair(self.seed, xp), pair(WINDOWS, xp)), words)
        number = xp.arange(context + 1, dtype=xp.uint32)[None, :]
        what, whether = threefry(window, (xp.zeros_like(number), number))
        anew = law.zipf.draw(what, xp)
        which = law.choice.draw(what, xp)
        follows = whether < np.uint32(law.threshold)
        likely = xp.asarray(law.likely.ravel())

        def step(state: Any, at: tuple[Any, Any, Any]) -> Any:
            follows, which, anew = at
            return xp.where(follows, likely[state * self.successors + which], anew)

        first = law.first.draw(what[:, 0], xp)
        later = [x[:, 1:].T for x in (follows, which, anew)]
        return xp.concatenate([first[None, :], _iterate(step, first, later, xp)]).T


class Law(NamedTuple):
    """What follows from the fields.

    ``likely`` are the successors of each token (states, successors); ``threshold`` is ``follow`` in 2^-32;
    P = ``background`` (of a draw anew, the same for all) + ``sparse`` (of following).
    """

    zipf: Table
    choice: Table
    likely: np.ndarray
    threshold: int
    background: np.ndarray
    sparse: Any
    stationary: np.ndarray
    first: Table


def _minus_p_log_p(p: np.ndarray) -> np.ndarray:
    import numpy as np

    return -p * np.log(np.where(p > 0, p, 1))


def _iterate(step: Callable, state: Any, inputs: list[Any], xp: Any) -> Any:
    """Return the states after each of the inputs, whose first axis is time."""
    import numpy as np

    if xp is np:
        states = np.empty(inputs[0].shape, np.int32)
        for t, at in enumerate(zip(*inputs, strict=True)):
            states[t] = state = step(state, at)
        return states
    from jax import lax

    def both(state: Any, at: Any) -> tuple[Any, Any]:
        after = step(state, at)
        return after, after

    return lax.scan(both, state, tuple(inputs))[1]
