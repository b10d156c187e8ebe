from collections import defaultdict
from itertools import product
from math import inf, log, prod

import numpy as np
import pytest
from pydantic import ValidationError

from scaling.corpora import santa_fe
from scaling.corpora.santa_fe import SantaFe

Chances = defaultdict[tuple, float]


def tiny(**fields: object) -> SantaFe:
    return SantaFe.model_validate(
        {"kind": "santa-fe", "levels": 3, "alpha": 1, "value_bits": 1, "noise": 0.1, "address_bits": 1}
        | fields
    )


def entropy_of(chances: Chances) -> float:
    return -sum(p * log(p) for p in chances.values() if p)


def statements(source: SantaFe) -> list[tuple[tuple, float]]:
    """Every statement of ``tiny`` as (level, digits ..., is the value wrong) with its probability."""
    weights = [2.0 ** (-source.alpha * level) for level in range(source.levels)]
    return [
        (
            (level, *digits, wrong),
            weight / sum(weights) / 2**level * (source.noise if wrong else 1 - source.noise),
        )
        for level, weight in enumerate(weights)
        for digits in product((0, 1), repeat=level)
        for wrong in (0, 1)
    ]


@pytest.mark.parametrize("context", [1, 2, 5])
def test_entropy_is_that_of_all_windows_of_a_tiny_source(context: int) -> None:
    source = tiny()
    windows: Chances = defaultdict(float, {(): 1.0})
    while any(len(window) <= context for window in windows):
        longer: Chances = defaultdict(float)
        for window, p in windows.items():
            if len(window) > context:
                longer[window] += p
                continue
            for tokens, q in statements(source):
                # a first token is its level here, since address_bits = 1 leaves no leading digits
                marked = [("first", tokens[0]), *(("digit", d) for d in tokens[1:-1]), ("value", tokens[-1])]
                longer[(*window, *marked)[: context + 1]] += p * q
        windows = longer
    first: Chances = defaultdict(float)
    for window, p in windows.items():
        first[window[:1]] += p
    expected = (entropy_of(windows) - entropy_of(first)) / context
    assert source.entropy(context) == pytest.approx(expected, abs=1e-7)


def test_oracle_is_the_best_predictor_of_a_tiny_source() -> None:
    """Enumerate all facts and all histories of 3 statements, and what the next value then costs."""
    source = tiny(levels=2, noise=0.2)
    context, looks = 40, 3
    weights = [1.0, 0.5]
    chance = [weights[0] / 1.5, weights[1] / 1.5 / 2, weights[1] / 1.5 / 2]
    known: Chances = defaultdict(float)
    both: Chances = defaultdict(float)
    for facts in product((0, 1), repeat=3):
        for told in product(range(3), repeat=looks):
            for wrong in product((0, 1), repeat=looks):
                history = tuple((k, facts[k] ^ w) for k, w in zip(told, wrong, strict=True))
                p = 1 / 8 * prod(chance[k] for k in told) * prod(0.2 if w else 0.8 for w in wrong)
                for k, w in product(range(3), (0, 1)):
                    known[history, k] += p * chance[k] * (0.2 if w else 0.8)
                    both[history, k, facts[k] ^ w] += p * chance[k] * (0.2 if w else 0.8)
    flip = -0.2 * log(0.2) - 0.8 * log(0.8)
    excess = entropy_of(both) - entropy_of(known) - flip
    values = 1 / 2  # about, of predicted tokens: what rounds to 3 statements
    tokens = looks / values
    share = (source.oracle(0, context) - source.entropy(context)) / (log(2) - flip)
    assert round(tokens * share) == looks
    assert source.oracle(tokens, context) - source.entropy(context) == pytest.approx(share * excess, abs=1e-7)


def test_oracle_is_what_counting_reaches() -> None:
    """Without noise, who has seen a fact knows it: count which facts of evaluation windows were seen."""
    source = SantaFe(kind="santa-fe", noise=0, seed=3)
    context, windows = 64, 3000

    def facts_of(made: np.ndarray) -> list[tuple[int, ...]]:
        row = made.ravel()
        return [tuple(s[:-1]) for s in np.split(row, np.flatnonzero(row < source.first_tokens)[1:])]

    trained, evaluated = source.windows(np.arange(windows), context), source.evaluation_windows(2000, context)
    seen = set(facts_of(trained))
    unknown = [fact not in seen for fact in facts_of(evaluated)]
    tokens = windows * context
    expected = source.oracle(tokens, context) - source.entropy(context)
    values = (source.oracle(0, context) - source.entropy(context)) / (8 * log(2))  # per predicted token
    error = np.std(unknown) / len(unknown) ** 0.5 * values * 8 * log(2)
    assert abs(np.mean(unknown) * values * 8 * log(2) - expected) < 3 * error
    assert error < 0.03 * expected


@pytest.mark.parametrize("facts", [0, 1, 4, 5, 7])
def test_oracle_that_holds_few_facts_lacks_the_rarest(facts: int) -> None:
    source = tiny(alpha=0.5, noise=0)
    chance = [2.0 ** (-1.5 * level) for level in range(3) for _ in range(2**level)]
    nothing, some = (source.oracle(1e15, 64, facts=k) - source.entropy(64) for k in (0, facts))
    assert some / nothing == pytest.approx(sum(chance[facts:]) / sum(chance), abs=1e-9)


def test_exponents_of_the_oracle_near_those_of_the_theory() -> None:
    source = SantaFe(kind="santa-fe", alpha=0.5, noise=0)
    floor = source.entropy(64)
    few, many = (log(source.oracle(n, 64) - floor) for n in (1e5, 1e7))
    assert (few - many) / log(100) == pytest.approx(0.5 / 1.5, abs=0.01)
    few, many = (log(source.oracle(1e15, 64, facts=k) - floor) for k in (2**8 - 1, 2**16 - 1))
    assert (few - many) / log(2**8) == pytest.approx(0.5, abs=0.01)


def test_noise_delays_but_does_not_hide() -> None:
    clear, noisy = SantaFe(kind="santa-fe", noise=0), SantaFe(kind="santa-fe", noise=0.2)
    part = [(s.oracle(1e6, 64) - s.entropy(64)) / (s.oracle(0, 64) - s.entropy(64)) for s in (clear, noisy)]
    assert part[0] < part[1] < 0.5
    assert noisy.oracle(1e14, 64) == pytest.approx(noisy.entropy(64), abs=1e-3)


def test_noise_is_bounded_and_only_the_oracle_asks_how_fast_it_is_learnt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def slow(noise: float) -> np.ndarray:
        raise AssertionError(f"takes seconds with noise = {noise}")

    monkeypatch.setattr(santa_fe, "_ignorance", slow)
    source = tiny(noise=0.45)
    assert 0 < source.entropy(5) < inf
    assert source.evaluation_windows(2, 5).shape == (2, 6)
    with pytest.raises(AssertionError, match=r"noise = 0\.45"):
        source.oracle(1e3, 5)
    with pytest.raises(ValidationError, match="noise"):
        tiny(noise=0.46)
