from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def quickly(compiled_quickly: None) -> None:
    """All programs of this room."""
