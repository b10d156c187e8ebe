import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry_2x32
from scipy.stats import chisquare

from scaling.corpora.draws import Table, pair, threefry, words_of


def test_threefry_is_that_of_jax() -> None:
    counter = np.arange(64, dtype=np.uint32).reshape(2, 32) * np.uint32(0x9E3779B9)
    key = pair(0x0123456789ABCDEF)
    x0, x1 = threefry(key, (counter[:1], counter[1:]))
    there = threefry_2x32(jnp.array([key[0][0, 0], key[1][0, 0]]), jnp.asarray(counter.ravel()))
    assert np.array_equal(np.concatenate([x0[0], x1[0]]), np.asarray(there))


def test_words_of_large_and_small_indices() -> None:
    indices = np.array([0, 1, 2**32 - 1, 2**32, 2**62, 2**62 + 5], np.int64)
    words = words_of(indices).astype(np.uint64)
    assert ((words[:, 0] << np.uint64(32)) + words[:, 1] == indices.astype(np.uint64)).all()


def test_table_draws_each_outcome_exactly_as_often_as_it_says() -> None:
    table = Table(np.array([5.0, 0.0, 1.0, 2.0, 8.0]))
    bits = table.bits
    word = np.arange(0, 2**32, 2**12, dtype=np.uint64).astype(np.uint32)  # every 4096th word
    drawn = np.bincount(table.draw(word), minlength=5) / len(word)
    np.testing.assert_allclose(drawn, table.probabilities, atol=2 ** (12 + bits - 32) + 1e-12)
    np.testing.assert_allclose(table.probabilities, np.array([5, 0, 1, 2, 8]) / 16, atol=1e-9)


def test_table_of_rare_outcomes_keeps_them() -> None:
    table = Table(10.0 ** -np.arange(15))
    assert (table.probabilities > 0).all() and abs(table.probabilities.sum() - 1) < 1e-15


def test_table_is_the_same_under_jax() -> None:
    table = Table(1.0 / np.arange(1, 300))
    word, _ = threefry(pair(7), pair(0)[:1] + (np.arange(5000, dtype=np.uint32)[None, :],))
    drawn = table.draw(word)
    assert np.array_equal(drawn, np.asarray(table.draw(jnp.asarray(word), jnp)))
    counts, expected = np.bincount(drawn[0], minlength=299), table.probabilities * 5000
    assert chisquare(counts, expected).pvalue > 1e-3
