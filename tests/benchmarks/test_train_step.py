"""The benchmark of the CPU: turns, and ratios that are medians over rounds."""

from __future__ import annotations

from io import StringIO
from types import SimpleNamespace
from typing import Any, cast

from benchmarks.train_step import Contestant, compete


def contestant(name: str, *seconds: float) -> Contestant:
    """Make one that answers each turn with so many seconds of a step."""
    answers = StringIO("".join(f"{s}\n" for s in seconds))
    return Contestant(name, cast(Any, SimpleNamespace(stdin=StringIO(), stdout=answers)), {})


def test_ratios_are_medians_over_rounds(capsys):
    """The second round was slow for all, the third for ours alone."""
    everyone = [
        contestant("ours", 1.0, 4.0, 3.0),
        contestant("torch", 2.0, 8.4, 3.0),
        contestant("gemm", 0.1, 0.1, 0.1),
    ]
    assert compete("w16", everyone, rounds=3) == {"ours": 1.0, "torch": 2.0}
    rows = capsys.readouterr().out.splitlines()
    assert "[30-128]" in rows[-1] and "2.00x [1.00-2.10]" in rows[-1]
