"""Windows out of token arrays: the one place where training text is copied."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from pathlib import Path

import numpy as np

SPARE_FILES = 256  # open files that a process has beside the shards it maps


def map_tokens(paths: Sequence[Path], dtype: str) -> list[np.ndarray]:
    """Map files of tokens. Each keeps a file open, so the limit on these is raised where it is too low.

    Raises:
        OSError: a file cannot be mapped.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = len(paths) + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    kind = np.dtype(dtype).newbyteorder("<")
    return [np.asarray(np.memmap(path, kind, mode="r")) for path in paths]


class Text:
    """Arrays of tokens, memory-mapped perhaps, read as one long array; ``firsts`` are their places in it."""

    def __init__(self, shards: Sequence[np.ndarray]):
        self.shards = tuple(map(np.asarray, shards))  # no subclass: indexing is faster
        ends = np.cumsum([len(shard) for shard in self.shards])
        self.firsts = np.concatenate([[0], ends[:-1]])
        self.tokens = int(ends[-1])

    def windows(self, starts: np.ndarray, length: int) -> np.ndarray:
        """Return the ``length`` tokens from each place in ``starts`` (n,) on, int32 (n, length)."""
        if len(self.shards) == 1:
            return _windows(self.shards[0], starts, length)
        out = np.empty((len(starts), length), np.int32)
        shard = np.searchsorted(self.firsts, starts, side="right") - 1
        order = np.argsort(shard, kind="stable")
        touched, begin = np.unique(shard[order], return_index=True)
        for number, rows in zip(touched, np.split(order, begin[1:]), strict=True):
            tokens = self.shards[number]
            at = starts[rows] - self.firsts[number]
            whole = at + length <= len(tokens)
            out[rows[whole]] = _windows(tokens, at[whole], length)
            for row in rows[~whole]:
                out[row] = self._across(int(starts[row]), int(number), length)
        return out

    def _across(self, start: int, number: int, length: int) -> np.ndarray:
        """Return a window that begins in shard ``number`` and ends in a later one."""
        parts, at = list[np.ndarray](), start - int(self.firsts[number])
        while length:
            parts.append(self.shards[number][at : at + length])
            length -= len(parts[-1])
            number, at = number + 1, 0
        return np.concatenate(parts)


def _windows(tokens: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """Copy row by row: four times faster than indices of every token."""
    if not len(starts):
        return np.empty((0, length), np.int32)
    return np.lib.stride_tricks.sliding_window_view(tokens, length)[starts].astype(np.int32)
