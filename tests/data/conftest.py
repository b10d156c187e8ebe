from __future__ import annotations

from pathlib import Path

import pytest

from scaling.corpora.jsonl import Jsonl
from tests.data.made_up import noise, write_jsonl


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jsonl:
    """Twelve documents of 300 to 850 bytes of noise, and an empty cache folder."""
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path / "cache"))
    return write_jsonl(tmp_path / "tiny.jsonl", [noise(i, 300 + 50 * i) for i in range(12)])
