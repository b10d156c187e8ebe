from __future__ import annotations

from pathlib import Path

import pytest

from scaling.corpora.jsonl import Jsonl
from tests.data.fakes import write_lines
from tests.data.made_up import noise, write_jsonl


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jsonl:
    """Twelve documents of 300 to 850 bytes of noise, and an empty cache folder."""
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path / "cache"))
    return write_jsonl(tmp_path / "tiny.jsonl", [noise(i, 300 + 50 * i) for i in range(12)])


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three files of a hundred lines, and an empty cache folder."""
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "corpus"
    folder.mkdir()
    write_lines(folder)
    return folder
