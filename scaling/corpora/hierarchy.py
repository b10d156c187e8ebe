"""A random hierarchy: sentences of a probabilistic grammar whose rules follow Zipf's law.

The random hierarchy model of Cagnetti et al. ("How deep neural networks learn compositional data",
arXiv:2307.02129), with the Zipf rules of Cagnetti, Kang and Wyart ("Learning curves theory for
hierarchically compositional data with power-law distributed features", arXiv:2505.07067): a root symbol,
uniform, is rewritten ``levels`` times. Each time every symbol becomes ``branching`` symbols by one of its
``rules`` rules, the k-th with a probability proportional to k^-(1 + alpha). Rules differ from level to level
and are unambiguous: no two symbols, and no two rules of a symbol, give the same tuple. A block is what one
root becomes, branching^levels tokens; a window is blocks one after another.

**Entropy.** A block can be read in one way, so that it holds what was drawn for it: ln symbols for the root
and H(rules) for each of its (branching^levels - 1) / (branching - 1) rewritten symbols. Divided by the length
this is the rate. A window's last block may be cut: what is left of it is whole subtrees, whose entropy is
known, hanging on the left of a path of unknown symbols. The symbols read there have a known entropy given
the symbol above them; taking these for all but the topmost gives a lower bound (conditioning on what lies
between reduces entropy), which is exact where subtrees hang at one level only. So is it for every
``context`` that is a multiple of a block.

**Bayes floor.** :meth:`Hierarchy.nats` is the inside algorithm from left to right: what is believed of a
symbol before its subtree is read follows from its parent's rules, and is certain once it is read.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from scaling.corpora.generated import GeneratedCorpus
from scaling.recipe.quantities import Real, Whole

if TYPE_CHECKING:
    import numpy as np

    from scaling.corpora.draws import Table

RULES, WINDOWS = 1, 2  # what a key derived from the seed is for
MOST_TUPLES = 1 << 18
LONGEST_BLOCK = 1 << 16


class Hierarchy(GeneratedCorpus):
    """Sentences of a random grammar of several levels, with rules of Zipf frequencies."""

    kind: Literal["hierarchy"]
    levels: Annotated[Whole, Field(ge=1, le=16)] = 4
    """How often symbols are rewritten. A block has branching^levels tokens."""
    branching: Annotated[Whole, Field(ge=2, le=8)] = 2
    """How many symbols one symbol becomes."""
    symbols: Annotated[Whole, Field(ge=2, le=1024)] = 32
    """Of each level; those of the last are the vocabulary."""
    rules: Annotated[Whole, Field(ge=1, le=1024)] = 8
    """Ways to rewrite a symbol."""
    alpha: Annotated[Real, Field(ge=-1, le=4)] = 0.5
    """The k-th rule of a symbol has a probability of about k^-(1 + alpha); -1 makes all rules equal."""

    @model_validator(mode="after")
    def _fits(self) -> Hierarchy:
        tuples = self.symbols**self.branching
        if self.symbols * self.rules > tuples:
            raise PydanticCustomError(
                "spec",
                "rules: {rules} of {symbols} symbols need {needed} different tuples, and there are {tuples}",
                {
                    "rules": self.rules,
                    "symbols": self.symbols,
                    "needed": self.rules * self.symbols,
                    "tuples": tuples,
                },
            )
        if tuples > MOST_TUPLES:
            raise PydanticCustomError(
                "spec", "symbols^branching must be {most} at most", {"most": MOST_TUPLES}
            )
        if self.block > LONGEST_BLOCK:
            raise PydanticCustomError(
                "spec", "branching^levels must be {most} at most", {"most": LONGEST_BLOCK}
            )
        return self

    @property
    def vocab_size(self) -> int:
        return self.symbols

    @property
    def block(self) -> int:
        return self.branching**self.levels

    def rewritten(self, level: int) -> int:
        """Return how many symbols are rewritten below and with one of a level."""
        return (self.branching ** (self.levels - level) - 1) // (self.branching - 1)

    @cached_property
    def _law(self) -> Law:
        import numpy as np

        from scaling.corpora.draws import Table, pair, threefry

        wanted, s = self.symbols * self.rules, self.branching
        number = np.arange(self.symbols**s, dtype=np.uint32)[None, :]
        level = np.arange(self.levels, dtype=np.uint32)[:, None]
        rank, _ = threefry(threefry(pair(self.seed), pair(RULES)), (level, number))
        chosen = np.argsort(rank, axis=1, kind="stable")[:, :wanted]
        children = np.stack([chosen // self.symbols**j % self.symbols for j in reversed(range(s))], axis=-1)
        zipf = np.arange(1, self.rules + 1) ** -(1.0 + self.alpha)
        return Law(Table(np.ones(self.symbols)), Table(zipf), children.astype(np.int32))

    def entropy(self, context: int | None = None) -> float:
        law = self._law
        of_block = law.roots.entropy + self.rewritten(0) * law.rules.entropy
        if context is None:
            return of_block / self.block
        blocks, rest = divmod(context + 1, self.block)
        return (blocks * of_block + self._cut(rest) - self._cut(1)) / context

    def _cut(self, tokens: int) -> float:
        """Return the entropy of the first tokens of a block, or a lower bound (see above)."""
        import numpy as np

        law, total, top = self._law, 0.0, True
        belief = law.roots.probabilities
        for level, children in enumerate(law.children):
            size = self.branching ** (self.levels - level - 1)
            read, tokens = divmod(tokens, size)
            joint = belief[:, None] * law.rules.probabilities  # of symbol and rule
            if read:
                seen = _numbers(children[:, :read], self.symbols)
                if top:
                    total += _entropy(np.bincount(seen, joint.ravel()))
                else:
                    owner = np.arange(self.symbols).repeat(self.rules)
                    _, both = np.unique(owner * self.symbols**read + seen, return_inverse=True)
                    total += _entropy(np.bincount(both, joint.ravel())) - _entropy(belief)
                total += read * self.rewritten(level + 1) * law.rules.entropy
                top = False
            if not tokens:
                return total
            belief = np.bincount(children[:, read], joint.ravel(), self.symbols)
        return total

    def nats(self, windows: np.ndarray) -> np.ndarray:
        import numpy as np

        law, missing = self._law, -windows.shape[1] % self.block
        blocks = np.pad(windows, ((0, 0), (0, missing))).reshape(-1, self.block)
        chance = np.ones(blocks.shape)
        member = [
            [
                np.eye(self.symbols)[:, children[:, j]] for j in range(self.branching)
            ]  # (symbol, rule): is child
            for children in law.children
        ]

        def read(level: int, at: int, belief: np.ndarray) -> np.ndarray:
            """Read the subtree of a symbol at a place; return the symbol, which is then known."""
            if level == self.levels:
                chance[:, at] = np.take_along_axis(belief, blocks[:, at : at + 1], axis=1)[:, 0]
                return blocks[:, at]
            joint = (belief[:, :, None] * law.rules.probabilities).reshape(len(blocks), -1)
            size = self.branching ** (self.levels - level - 1)
            for j in range(self.branching):
                child = read(level + 1, at + j * size, joint @ member[level][j].T)
                joint = joint * member[level][j][child]
                joint /= joint.sum(axis=1, keepdims=True)
            return np.argmax(joint, axis=1) // self.rules

        with np.errstate(
            invalid="ignore", divide="ignore"
        ):  # what stands in for missing tokens may be impossible
            read(0, 0, np.tile(law.roots.probabilities, (len(blocks), 1)))
            cost = -np.log(chance).reshape(len(windows), -1)
        return cost[:, 1 : windows.shape[1]]

    def _windows(self, words: tuple[Any, Any], context: int, xp: Any) -> Any:
        from scaling.corpora.draws import pair, threefry

        law, rows = self._law, len(words[0])
        window = threefry(threefry(pair(self.seed, xp), pair(WINDOWS, xp)), words)
        blocks = -(-(context + 1) // self.block)
        draws = self.rewritten(0) + 1  # of a block, two by each call of the cipher
        block = xp.arange(blocks, dtype=xp.uint32).repeat(draws // 2 + 1)[None, :]
        number = xp.tile(xp.arange(draws // 2 + 1, dtype=xp.uint32), blocks)[None, :]
        drawn = xp.stack(threefry(window, (block, number)), axis=-1).reshape(rows * blocks, -1)
        symbol, used = law.roots.draw(drawn[:, :1], xp), 1
        rule = law.rules.draw(drawn, xp)
        for children in law.children:
            count = symbol.shape[1]
            at = symbol * self.rules + rule[:, used : used + count]
            symbol, used = xp.asarray(children)[at].reshape(rows * blocks, -1), used + count
        return symbol.reshape(rows, -1)[:, : context + 1]


class Law(NamedTuple):
    """What follows from the fields: distributions of roots and of rules, and for each level the tuples by
    symbol and rule, (symbols * rules, branching)."""

    roots: Table
    rules: Table
    children: np.ndarray


def _numbers(tuples: np.ndarray, base: int) -> np.ndarray:
    """Return one number for each tuple (n, length)."""
    return tuples.astype("int64") @ [base**j for j in reversed(range(tuples.shape[1]))]


def _entropy(chances: np.ndarray) -> float:
    import numpy as np

    p = chances[chances > 0]
    return float(-(p * np.log(p)).sum())
