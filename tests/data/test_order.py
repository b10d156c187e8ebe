import numpy as np
import pytest

from scaling.data.order import windows_at

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
