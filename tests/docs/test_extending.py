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


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of both packages, with their compiled modules: each command would compile them again."""
    folder = tmp_path_factory.mktemp("tree")
    for name in ("scaling", "analysis", "results/reference/quickstart"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


@pytest.fixture
def tree(copy):
    """The copy, and patches to take out of it in the end."""
    patches = []
    yield copy, patches
    for patch in reversed(patches):
        apply(patch, copy, "--reverse")


def apply(patch, tree, *options):
    done = subprocess.run(
        ["git", "apply", *options, "-"], input=patch, cwd=tree, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


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


@pytest.mark.slow
@pytest.mark.parametrize("section", SECTIONS, ids=[section.splitlines()[0] for section in SECTIONS])
def test_the_shortest_addition_works(section, tree):
    (folder, patches), printed = tree, ""
    for kind, text in BLOCK.findall(section):
        match kind:
            case "diff":
                assert len(text.splitlines()) <= MOST_LINES
                apply(text, folder)
                patches.append(text)
            case "sh":
                words = shlex.split(text)
                interpreter = {"scaling": [sys.executable, "-m", "scaling"], "python": [sys.executable]}
                command = [*interpreter.get(words[0], words[:1]), *words[1:]]
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
                assert done.returncode == 0, done.stderr
                printed = done.stdout
            case _:
                for line in text.splitlines():
                    assert line in printed, printed
