from collections import defaultdict
from itertools import product
from math import log

import numpy as np
import pytest
from pydantic import ValidationError

from scaling.corpora.hierarchy import Hierarchy

Chances = defaultdict[tuple, float]


def tiny(**fields: object) -> Hierarchy:
    return Hierarchy.model_validate(
        {"kind": "hierarchy", "levels": 3, "branching": 2, "symbols": 3, "rules": 2, "alpha": 0} | fields
    )


def sentences(source: Hierarchy, level: int, symbol: int) -> Chances:
    """Every block below a symbol with its probability, by rewriting."""
    if level == source.levels:
        return defaultdict(float, {(symbol,): 1.0})
    weights = [1 / (k + 1) ** (1 + source.alpha) for k in range(source.rules)]
    chances: Chances = defaultdict(float)
    for k, weight in enumerate(weights):
        children = source._law.children[level][symbol * source.rules + k]
        below = [sentences(source, level + 1, int(child)).items() for child in children]
        for parts in product(*below):
            block = sum((part for part, _ in parts), ())
            chances[block] += weight / sum(weights) * float(np.prod([p for _, p in parts]))
    return chances


def blocks(source: Hierarchy) -> Chances:
    chances: Chances = defaultdict(float)
    for symbol in range(source.symbols):
        for block, p in sentences(source, 0, symbol).items():
            chances[block] += p / source.symbols
    return chances


def cut(chances: Chances, tokens: int) -> Chances:
    short: Chances = defaultdict(float)
    for block, p in chances.items():
        short[block[:tokens]] += p
    return short


def entropy_of(chances: Chances) -> float:
    return -sum(p * log(p) for p in chances.values())


SOURCES = [
    tiny(),
    tiny(levels=2, branching=3),
    tiny(levels=2, branching=4, symbols=2, rules=3, alpha=1),
    tiny(symbols=2, seed=5),
]


@pytest.mark.parametrize("source", SOURCES)
def test_entropy_is_that_of_all_blocks_of_a_tiny_grammar(source: Hierarchy) -> None:
    chances = blocks(source)
    first, whole = entropy_of(cut(chances, 1)), entropy_of(chances)
    assert source.entropy() * source.block == pytest.approx(whole, abs=1e-6)
    assert source.entropy(source.block) * source.block == pytest.approx(whole, abs=1e-6)
    for rest in range(1, source.block):
        context = source.block + rest - 1
        exact = (whole + entropy_of(cut(chances, rest)) - first) / context
        digits = [rest // source.branching**j % source.branching for j in range(source.levels)]
        if sum(digit > 0 for digit in digits) == 1:
            assert source.entropy(context) == pytest.approx(exact, abs=1e-7)
        else:
            assert 0.8 * exact < source.entropy(context) < exact + 1e-7


@pytest.mark.parametrize("source", SOURCES)
def test_bayes_floor_is_that_of_all_blocks_of_a_tiny_grammar(source: Hierarchy) -> None:
    chances = blocks(source)
    shorter = [cut(chances, tokens) for tokens in range(1, source.block + 1)]
    some = source.evaluation_windows(200, source.block + 2)
    for window, cost in zip(some.tolist(), source.nats(some), strict=True):
        for t in range(1, source.block):
            p = shorter[t][tuple(window[: t + 1])] / shorter[t - 1][tuple(window[:t])]
            assert cost[t - 1] == pytest.approx(-log(p), abs=1e-6)
        for t in (source.block, source.block + 1):  # the next block
            before = shorter[t - source.block - 1][tuple(window[source.block : t])] if t > source.block else 1
            p = shorter[t - source.block][tuple(window[source.block : t + 1])] / before
            assert cost[t - 1] == pytest.approx(-log(p), abs=1e-6)


def test_blocks_come_as_often_as_the_grammar_says() -> None:
    source = SOURCES[3]
    chances = blocks(source)
    made = [tuple(block) for block in source.windows(np.arange(4000), 15).reshape(-1, 8).tolist()]
    assert set(made) <= set(chances)
    for block in sorted(chances, key=chances.__getitem__)[-5:]:
        p = chances[block]
        assert abs(made.count(block) / len(made) - p) < 3.5 * (p / len(made)) ** 0.5


def test_rules_are_unambiguous_and_differ_by_level() -> None:
    children = Hierarchy(kind="hierarchy")._law.children
    assert all(len(np.unique(level, axis=0)) == 32 * 8 for level in children)
    assert not np.array_equal(children[0], children[1])


@pytest.mark.parametrize(
    "fields", [{"rules": 4}, {"branching": 8, "symbols": 100}, {"levels": 16, "branching": 8}]
)
def test_grammars_that_cannot_be_are_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match=r"tuples|at most"):
        tiny(**fields)
