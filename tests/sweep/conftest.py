from __future__ import annotations

import pytest

from scaling.sweep import course


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver of this process looks at the others and reports five times as often: tests wait for that."""
    for name in ("VISIT_SECONDS", "REPORT_SECONDS"):
        monkeypatch.setattr(course, name, getattr(course, name) / 5)
