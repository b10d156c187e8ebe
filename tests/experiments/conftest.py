"""The scripts of experiments/published and the data that they name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "experiments" / "published"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return import_module


@pytest.fixture
def failed() -> Callable[[Iterable[object]], tuple[int, list[str]]]:
    """How many verdicts there are, and the lines of those that fail."""

    def told(lines: Iterable[object]) -> tuple[int, list[str]]:
        found = [x for x in lines if not isinstance(x, str)]
        return len(found), [x.line() for x in found if not x.passed]

    return told
