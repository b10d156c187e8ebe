"""The documentation: links lead somewhere, commands print what is shown, pictures can be redrawn."""

from __future__ import annotations

import ast
import json
import re
import runpy
import warnings

import matplotlib.image
import numpy as np
import pytest

from tests.cli.call import call
from tests.docs import consoles

ROOT = consoles.ROOT
TUTORIALS = ROOT / "docs" / "tutorials"
PAGES = [
    *(path for path in sorted(ROOT.glob("*.md"))),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "results" / "reference").rglob("README.md")),
]
LINK = re.compile(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"")


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_resolve(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in (either or other for either, other in LINK.findall(text)):
        if re.match(r"\w+:", target):
            continue
        file, _, anchor = target.partition("#")
        path = page.parent / file if file else page
        assert path.exists(), f"{page.name}: {target} does not exist"
        assert not anchor or anchor in anchors(path.read_text("utf-8")), f"{page.name}: no heading {target}"


def test_every_page_of_the_documentation_is_in_its_index():
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    pages = [*(ROOT / "docs").rglob("*.md"), *TUTORIALS.glob("*.ipynb")]
    missing = [page.name for page in pages if f"({page.relative_to(ROOT / 'docs').as_posix()})" not in index]
    assert missing == ["README.md"]


@pytest.mark.parametrize(
    "page, base", [("docs/architecture.md", "."), ("docs/reference/results.md", "scaling")]
)
def test_functions_that_a_page_names_are_there(page, base):
    named = re.findall(r"`([\w/]+/\w+\.py)(?::([\w.]+))?`", (ROOT / page).read_text("utf-8"))
    assert len(named) > 15
    for file, name in named:
        path = ROOT / file if (ROOT / file).exists() else ROOT / base / file
        assert path.exists(), f"{page}: {file} does not exist"
        body = ast.parse(path.read_text("utf-8")).body
        for part in filter(None, name.split(".")):
            found = [node for node in body if getattr(node, "name", None) == part]
            assert found, f"{page}: {file} has no {name}"
            body = getattr(found[0], "body", [])


LONGEST = tuple(f"docs/how-to/{page}.md" for page in ("best_size", "identify", "next", "rounds", "vary"))
KNOWN = dict[str, str]()  # what commands printed, for other pages


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow) if page in LONGEST else page for page in consoles.PAGES],
)
def test_commands_print_what_the_pages_show(tmp_path, page):
    consoles.prepare(page, tmp_path)
    blocks = consoles.CONSOLE.findall((ROOT / page).read_text("utf-8"))
    assert blocks
    for block in blocks:
        wrong = consoles.differences(block, consoles.printed(block, tmp_path, quick=True, known=KNOWN))
        assert not wrong, "\n".join([*wrong, "where that is right: python -m tests.docs.consoles --write"])


def test_differences_of_printed_text_are_seen():
    assert not consoles.differences("  E  1.618  [1.49, 1.73]\n", "  E  1.617  [1.48, 1.73]\n")
    assert consoles.differences("  E  1.618\n", "  E  1.718\n")
    assert consoles.differences("  E  identified\n", "  E  not identified\n")
    assert consoles.differences("  E  1.618\n", "  E  1.618\n  A  2\n")


def test_the_tutorial_and_the_notebook_run(tmp_path, monkeypatch):
    page = (TUTORIALS / "fit_your_runs.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(?!# )(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    cells = json.loads((TUTORIALS / "fit.ipynb").read_text("utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert blocks and code and not any(cell["outputs"] for cell in code)
    consoles.prepare("docs/tutorials/fit_your_runs.md", tmp_path)
    program = "\n".join([*blocks, *("".join(cell["source"]) for cell in code)])
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        exec(program, {})


def test_pictures_are_those_of_the_committed_results(tmp_path, monkeypatch):
    """Fails when a figure changes: then `make images`, look at them, and commit them."""
    monkeypatch.chdir(ROOT)
    done = call("plot", "results/reference/quickstart", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    designs = runpy.run_path(str(ROOT / "experiments" / "designs" / "figure.py"))
    designs["draw"](designs["specs"]()).savefig(tmp_path / "designs.png", dpi=150)
    kept = sorted((ROOT / "docs" / "images").glob("*.png"))
    assert [path.name for path in kept] == sorted(path.name for path in tmp_path.iterdir())
    for path in kept:
        ours, drawn = (matplotlib.image.imread(p)[..., :3] for p in (path, tmp_path / path.name))
        assert ours.shape == drawn.shape, path.name
        assert float(np.mean(np.abs(ours - drawn))) < 0.01, f"{path.name} is not what is drawn now"


@pytest.mark.slow
def test_the_api_reference_is_built_without_warnings(tmp_path):
    pdoc = pytest.importorskip("pdoc")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pdoc.pdoc("analysis", output_directory=tmp_path)
    page = (tmp_path / "analysis.html").read_text("utf-8")
    for name in ("fit", "load", "compare", "Law", "Fit", "multiplier"):
        assert f'id="{name}"' in page
