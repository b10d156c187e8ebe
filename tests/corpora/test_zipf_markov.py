from itertools import product
from math import log

import numpy as np
import pytest

from scaling.corpora.zipf_markov import ZipfMarkov


def tiny(**fields: object) -> ZipfMarkov:
    return ZipfMarkov.model_validate(
        {"kind": "zipf-markov", "states": 4, "alpha": 0.5, "successors": 3, "follow": 0.6} | fields
    )


def transitions(source: ZipfMarkov) -> np.ndarray:
    """The matrix P, entry by entry."""
    weights = [1 / (k + 1) ** (1 + source.alpha) for k in range(source.states)]
    p = np.zeros((source.states, source.states))
    for i, j in product(range(source.states), repeat=2):
        often = source._law.likely[i].tolist().count(j)
        p[i, j] = (1 - source.follow) * weights[j] / sum(weights) + source.follow * often / source.successors
    return p


@pytest.mark.parametrize("source", [tiny(), tiny(seed=3), tiny(follow=0), tiny(states=3, follow=0.99)])
def test_entropy_is_that_of_all_windows_of_a_tiny_chain(source: ZipfMarkov) -> None:
    p = transitions(source)
    values, vectors = np.linalg.eig(p.T)
    start = np.real(vectors[:, np.argmax(np.real(values))])
    start = start / start.sum()
    total = sum(
        -chance * log(chance / start[i])
        for i, j, k in product(range(source.states), repeat=3)
        if (chance := start[i] * p[i, j] * p[j, k])
    )
    assert source.entropy(2) == pytest.approx(total / 2, abs=1e-6)
    assert source.entropy() == source.entropy(2)


def test_tokens_follow_each_other_as_the_matrix_says() -> None:
    source = tiny()
    p = transitions(source)
    windows = source.windows(np.arange(4000), 20)
    pairs = np.zeros((4, 4))
    np.add.at(pairs, (windows[:, :-1].ravel(), windows[:, 1:].ravel()), 1)
    error = (p * (1 - p) / pairs.sum(axis=1, keepdims=True)) ** 0.5
    assert (abs(pairs / pairs.sum(axis=1, keepdims=True) - p) < 4 * error + 1e-9).all()
    first, later = (np.bincount(windows[:, t], minlength=4) / 4000 for t in (0, 20))
    assert abs(first - later).max() < 4 * (0.5 / 4000) ** 0.5


def test_cost_is_that_of_the_matrix() -> None:
    source = tiny()
    windows = source.evaluation_windows(50, 10)
    expected = -np.log(transitions(source)[windows[:, :-1], windows[:, 1:]])
    np.testing.assert_allclose(source.nats(windows), expected, atol=1e-6)
