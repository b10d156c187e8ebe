from __future__ import annotations

import numpy as np
import pytest

from scaling.tokenizers.spans import bytes_per_token


@pytest.mark.parametrize(
    ("ends", "single", "size", "counts"),
    [
        ([], [], 3, []),
        ([2, 5], [0, 0], 7, [2, 5]),  # what follows the last counts with it
        ([4, 2, 6], [0, 0, 0], 6, [4, 0, 2]),  # a token that ends before the one ahead of it has no bytes
        ([1, 4, 4, 4], [0, 1, 1, 1], 4, [1, 1, 1, 1]),
        ([1, 1, 1, 4], [0, 1, 1, 1], 5, [1, 2, 1, 1]),  # more than a byte a token: dropped before them
        ([2, 2, 2], [1, 1, 1], 2, [2, 0, 0]),  # fewer bytes than tokens: a changed text
    ],
)
def test_bytes_of_tokens(ends: list[int], single: list[int], size: int, counts: list[int]) -> None:
    found = bytes_per_token(np.array(ends, np.int64), np.array(single, bool), size)
    assert found.tolist() == counts and found.dtype == np.uint32
