import numpy as np
import pytest

from scaling.corpora.quotas import BLOCK
from scaling.data.order import mixture_at, sources_seen, subset, windows_at, windows_of

# The order of training text is part of what a run id stands for. If these values have to change, raise
# scaling.run.SEMANTICS, say so in CHANGELOG.md, and print windows_at(...) for the new ones.
GOLDEN = {
    (0, 0, 152817): [52293, 87170, 140925, 101926, 72157, 11730, 121356, 55736],
    (7, 305630, 152817): [125671, 5059, 104935, 23868, 139783, 70495, 61437, 134266],
    (0, 0, 10): [9, 0, 6, 7, 1, 2, 5, 3],
}


@pytest.mark.parametrize(("seed", "first", "windows"), GOLDEN)
def test_golden(seed: int, first: int, windows: int) -> None:
    assert windows_at(seed, first, 8, windows).tolist() == GOLDEN[seed, first, windows]


@pytest.mark.parametrize("windows", [1, 2, 3, 4, 5, 12, 13, 97, 1000, 4096, 4097])
def test_each_epoch_is_a_permutation_of_its_own(windows: int) -> None:
    epochs = windows_at(5, 0, 3 * windows, windows).reshape(3, windows)
    for epoch in epochs:
        assert sorted(epoch) == list(range(windows))
    if windows >= 12:
        assert (epochs[0] != epochs[1]).any() and (epochs[1] != epochs[2]).any()


def test_any_stretch_agrees_with_the_whole() -> None:
    whole = windows_at(3, 0, 300, 101)
    for first, count in [(0, 1), (99, 5), (100, 101), (250, 50)]:
        assert (windows_at(3, first, count, 101) == whole[first : first + count]).all()


def test_looks_random() -> None:
    n = 20_000
    orders = np.stack([windows_at(seed, 0, n, n) for seed in range(4)])
    fixed = [np.sum(a == b) for i, a in enumerate(orders) for b in orders[:i]]
    assert max(fixed) <= 8, "seeds agree at more places than chance (1 on average)"
    for order in orders:
        assert np.sum(np.abs(np.diff(order)) == 1) <= 12, "neighbours stay neighbours (2 on average)"
        assert abs(np.corrcoef(order[:-1], order[1:])[0, 1]) < 0.04  # 5 standard errors
        thirds = order[: n // 10] * 3 // n
        assert np.bincount(thirds, minlength=3).min() > 550, "an epoch's beginning favours a part of the text"


def test_no_memory_in_the_number_of_windows() -> None:
    assert windows_at(0, 2**40, 4, 2**50 + 7).max() < 2**50 + 7


def test_any_places_are_those_of_the_whole_order() -> None:
    whole = windows_at(3, 0, 70_000, 1001)  # more than are permuted at a time
    places = np.array([69_999, 0, 1000, 1001, 16_384, 16_383, 5, 5], np.uint64)
    assert (windows_of(3, places, 1001) == whole[places]).all()
    far = windows_of(3, np.array([2**63 + 5], np.uint64), 2**40 + 1)
    assert far == windows_at(3, 2**63 + 5, 1, 2**40 + 1)


# As the values above: which text a subset holds is part of what its data are.
GOLDEN_SUBSET = [756, 804, 105, 815, 277, 112, 826, 489, 607, 898]


def test_a_subset_is_contained_in_a_larger_one() -> None:
    numbers = np.arange(1000)
    parts = {used: subset(numbers[:used], 1000, used) for used in (1, 10, 500, 999, 1000)}
    assert parts[10].tolist() == GOLDEN_SUBSET
    for smaller, larger in zip([1, 10, 500], [10, 500, 999], strict=True):
        assert (parts[larger][:smaller] == parts[smaller]).all()
    assert len(set(parts[999])) == 999 and parts[999].min() >= 0 and parts[999].max() < 1000
    assert (parts[1000] == numbers).all(), "all of the text is in the order that it has without a subset"


def test_a_subset_is_spread_over_the_text() -> None:
    fifths = subset(np.arange(5000), 100_000, 5000) // 20_000
    assert np.bincount(fifths, minlength=5).min() > 880  # 1000 by chance, standard deviation 28


QUOTAS = (2048, 2047, 1)
GOLDEN_MIXTURE = {
    0: ([0, 0, 0, 0, 0, 1, 0, 0], [0, 1, 2, 3, 4, 0, 5, 6]),
    4092: ([0, 1, 0, 0, 1, 1, 1, 0], [2045, 2046, 2046, 2047, 2047, 2048, 2049, 2048]),
}


@pytest.mark.parametrize("first", GOLDEN_MIXTURE)
def test_golden_mixture(first: int) -> None:
    source, place = mixture_at(0, np.arange(first, first + 8, dtype=np.uint64), QUOTAS)
    assert (source.tolist(), place.tolist()) == GOLDEN_MIXTURE[first]


def test_a_mixture_takes_each_source_in_its_own_order() -> None:
    places = np.arange(3 * BLOCK + 100, dtype=np.uint64)
    source, place = mixture_at(7, places, QUOTAS)
    for number, quota in enumerate(QUOTAS):
        own = place[source == number]
        assert own.tolist() == list(range(len(own))), "one after another, none left out"
        assert np.count_nonzero(source[:BLOCK] == number) == quota
    blocks = source[: 3 * BLOCK].reshape(3, BLOCK)
    assert (blocks[0] != blocks[1]).any() and (blocks[1] != blocks[2]).any()
    assert (mixture_at(8, places, QUOTAS)[0] != source).any()
    runs = np.count_nonzero(np.diff(blocks[0]))
    assert abs(runs - BLOCK / 2) < 200, "sources alternate as by chance: 2048, standard deviation 32"


def test_any_places_of_a_mixture_are_those_of_its_order() -> None:
    source, place = mixture_at(1, np.arange(2 * BLOCK, dtype=np.uint64), QUOTAS)
    some = np.array([8191, 0, 4095, 4096, 77, 77], np.uint64)
    chosen, own = mixture_at(1, some, QUOTAS)
    assert (chosen == source[some]).all() and (own == place[some]).all()
    _, far = mixture_at(1, np.array([2**50], np.uint64), QUOTAS)
    assert far[0] >= 2**38, "the place of the rarest source, of which each block has one"


def test_a_mixture_of_one_source_is_its_source() -> None:
    places = np.arange(5000, dtype=np.uint64)
    source, place = mixture_at(2, places, (BLOCK,))
    assert (source == 0).all() and (place == places).all()


@pytest.mark.parametrize("done", [0, 1, 100, BLOCK - 1, BLOCK, 2 * BLOCK + 1234])
def test_what_a_run_has_seen_of_each_source(done: int) -> None:
    source, _ = mixture_at(5, np.arange(done, dtype=np.uint64), QUOTAS)
    assert sources_seen(5, done, QUOTAS) == np.bincount(source, minlength=3).tolist()
    assert sum(sources_seen(5, 10**15 + done, QUOTAS)) == 10**15 + done
