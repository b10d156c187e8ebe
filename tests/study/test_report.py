"""When the report of a study is made anew."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scaling import report


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was said before each page that was made; pages are one line."""

    def write(findings: Any, sources: Any, path: Path, **options: Any) -> Path:
        path.write_text("<html></html>\n")
        return path

    monkeypatch.setattr(report, "write", write)
    (tmp_path / "runs.csv").write_text("params,tokens,loss\n1e6,2e7,3\n")
    return []


def test_the_same_study_has_one_report(tmp_path: Path, made: list[str]) -> None:
    def ask(text: str = "L = 3") -> Path:
        found: Any = SimpleNamespace(text=text)
        return report.study_report(found, tmp_path, made.append)

    page = ask()
    assert page == tmp_path / "report.html" and len(made) == 1
    ask()
    assert len(made) == 1, "nothing is new"
    (tmp_path / "study.yaml").write_text("study: s\n")
    ask()
    assert len(made) == 2, "another spec"
    ask("L = 4")
    assert len(made) == 3, "another fit to the same files"
    page.write_text(page.read_text()[:-5])
    ask("L = 4")
    assert len(made) == 4, "a page that is not whole"
    ask("L = 4")
    assert len(made) == 4 and page.read_text().startswith("<html></html>\n<!-- drawn from ")
