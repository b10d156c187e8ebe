import numpy as np
import pytest

from scaling.data.gather import Text

TOKENS = np.random.default_rng(0).integers(0, 60_000, 1000, np.uint16)
STARTS = np.append(np.random.default_rng(1).integers(0, 1000 - 30, 300), [0, 500])


@pytest.mark.parametrize(
    "borders",
    [[], [1], [500], [100, 105, 106, 400], [29, 58, 87], [0, 300, 300, 999]],
    ids=["one", "tiny", "two", "shorter than a window", "as long", "empty"],
)
def test_shards_are_read_as_one_long_array(borders: list[int]) -> None:
    text = Text(np.split(TOKENS, borders))
    windows = text.windows(STARTS, 30)
    assert windows.dtype == np.int32 and text.tokens == 1000
    assert (windows == TOKENS[STARTS[:, None] + np.arange(30)]).all()


def test_the_last_window() -> None:
    assert (Text(np.split(TOKENS, [980])).windows(np.array([970]), 30) == TOKENS[970:]).all()


def test_a_window_beyond_the_end_is_an_error() -> None:
    for shards in ([TOKENS], np.split(TOKENS, [990])):
        with pytest.raises(IndexError):
            Text(shards).windows(np.array([971]), 30)
