import subprocess
import sys
from pathlib import Path

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


FEW_FILES = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
import numpy as np
from scaling.data.gather import Text, map_tokens
text = Text(map_tokens(sorted(Path(sys.argv[1]).iterdir()), "uint16"))
print(text.tokens, *text.windows(np.array([295]), 4)[0])
"""


def test_more_shards_than_files_may_be_open(tmp_path: Path) -> None:
    for number in range(100):
        np.full(3, number, "<u2").tofile(tmp_path / f"{number:03d}")
    done = subprocess.run([sys.executable, "-c", FEW_FILES, str(tmp_path)], capture_output=True)
    assert done.stdout == b"300 98 98 99 99\n", done.stderr
