"""The patches of docs/extending.md apply to a copy of the tree, and their commands print what it says."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(diff|sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MOST_LINES = 100  # of a patch
PAGE = (ROOT / "docs" / "extending.md").read_text("utf-8")
SECTIONS = [section for section in PAGE.split("\n## ")[1:] if BLOCK.search(section)]


@pytest.fixture
def tree(tmp_path):
    """A copy of both packages, with their compiled modules: each command would compile them again."""
    for name in ("scaling", "analysis", "results/reference/quickstart"):
        shutil.copytree(ROOT / name, tmp_path / name)
    return tmp_path


def test_every_part_has_a_section():
    parts = [
        "A law",
        "A design",
        "A family",
        "An optimizer",
        "A schedule",
        "An executor",
        "A corpus",
        "A reader",
    ]
    assert [section.splitlines()[0] for section in SECTIONS] == parts


@pytest.mark.parametrize("section", SECTIONS, ids=[section.splitlines()[0] for section in SECTIONS])
def test_the_shortest_addition_works(section, tree):
    printed = ""
    for kind, text in BLOCK.findall(section):
        match kind:
            case "diff":
                assert len(text.splitlines()) <= MOST_LINES
                applied = subprocess.run(
                    ["git", "apply", "-"], input=text, cwd=tree, capture_output=True, text=True
                )
                assert applied.returncode == 0, applied.stderr
            case "sh":
                words = shlex.split(text)
                interpreter = {"scaling": [sys.executable, "-m", "scaling"], "python": [sys.executable]}
                command = [*interpreter.get(words[0], words[:1]), *words[1:]]
                done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
                assert done.returncode == 0, done.stderr
                printed = done.stdout
            case _:
                for line in text.splitlines():
                    assert line in printed, printed
