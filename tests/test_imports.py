"""Which way imports point: what a module pulls in, seen in a fresh process, and what each room may name."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Room -> what of ours its files may import anywhere, inside functions too. A module stands for all below it.
BASE = ("scaling.errors", "scaling.counts", "scaling.recipe", "scaling.run", "scaling.store")
PLANNING = (*BASE, "scaling.spec", "scaling.data.index", "scaling.plan")
TABLES = ("analysis.errors", "analysis.files", "analysis.results", "analysis.tables")
FITS = (*TABLES, "analysis.laws", "analysis.solve", "analysis.fits")
MAY_IMPORT = {
    "scaling/errors.py": (),
    "scaling/own_analysis.py": BASE,
    "scaling/counts": ("scaling.counts",),
    "scaling/recipe": ("scaling.recipe",),
    "scaling/run.py": ("scaling.counts", "scaling.recipe"),
    "scaling/store": ("scaling.errors", "scaling.store"),
    "scaling/spec": (*BASE, "scaling.spec"),
    "scaling/data": (*BASE, "scaling.spec", "scaling.data"),
    "scaling/plan": PLANNING,
    "scaling/model": (*BASE, "scaling.spec", "scaling.model"),
    "scaling/train": (*BASE, "scaling.spec", "scaling.data", "scaling.model", "scaling.train"),
    "scaling/sweep": (*PLANNING, "scaling.sweep"),
    "scaling/study.py": (*PLANNING, "scaling.sweep", "scaling.own_analysis", "analysis"),
    "scaling/cli": (
        *PLANNING,
        *("scaling.sweep", "scaling.study", "scaling.cli", "scaling.own_analysis", "analysis"),
        *("scaling.__version__", "scaling.data.catalog"),  # what doctor reports
    ),
    "scaling/__init__.py": (),
    "scaling/__main__.py": ("scaling.cli",),
    # what the table says <- laws <- engine <- fits <- what is made of fits <- figures and reports
    "analysis/errors.py": (),
    "analysis/results.py": ("analysis.errors",),
    "analysis/files.py": ("analysis.errors",),
    "analysis/tables": TABLES,
    "analysis/laws": (*FITS, "analysis"),
    "analysis/solve": ("analysis.errors", "analysis.laws", "analysis.solve"),
    "analysis/fits": (*FITS, "analysis.optimal_size.estimate"),
    "analysis/optimal_size": (*FITS, "analysis.optimal_size"),
    "analysis/hyperparameters": (*FITS, "analysis.hyperparameters"),
    "analysis/training_curves.py": FITS,
    "analysis/forecasting": (*FITS, "analysis.optimal_size", "analysis.forecasting"),
    **dict.fromkeys(
        (
            *("analysis/__init__.py", "analysis/comparison.py"),
            *("analysis/downstream.py", "analysis/findings.py", "analysis/multipliers.py"),
            *("analysis/report.py", "analysis/figures"),
        ),
        ("analysis",),
    ),
}


def room(path: Path) -> str:
    parts = path.relative_to(ROOT).parts
    return "/".join(parts[:2])


def ours(path: Path) -> list[tuple[int, str]]:
    """(line, module) of every import in ``path`` of a module of this repository."""
    found = []
    package = list(path.relative_to(ROOT).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, name.name) for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found += [(node.lineno, f"{module}.{name.name}") for name in node.names]
    return [
        (line, name) for line, name in found if name.split(".")[0] in ("scaling", "analysis", "experiments")
    ]


def sources() -> list[Path]:
    return sorted([*(ROOT / "scaling").rglob("*.py"), *(ROOT / "analysis").rglob("*.py")])


def test_arrows_between_rooms() -> None:
    wrong = []
    for path in sources():
        assert room(path) in MAY_IMPORT, f"{path}: say in MAY_IMPORT what this new room may import"
        for line, name in ours(path):
            if not any(f"{name}.".startswith(f"{allowed}.") for allowed in MAY_IMPORT[room(path)]):
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {room(path)} may not import {name}")
    assert not wrong, "\n".join(wrong)


HEAVY = ("jax", "pandas", "scipy", "matplotlib")
TRAINING = ("jax", "flax", "optax", "orbax", "scaling.train", "scaling.model")
# Modules to import together -> what must not have been imported then; analysis has a test of its own.
FORBIDDEN = {
    ("scaling.errors",): (*HEAVY, "numpy", "pydantic"),
    ("scaling.counts.flops", "scaling.counts.params"): (*HEAVY, "numpy", "scaling.plan", "scaling.spec"),
    ("scaling.spec",): (*HEAVY, *TRAINING, "scaling.plan", "scaling.data", "analysis"),
    ("scaling.data.index",): (*HEAVY, *TRAINING, "numpy", "scaling.plan", "analysis"),
    ("scaling.data",): (*HEAVY, *TRAINING, "scaling.plan", "analysis"),
    ("scaling.plan",): (*HEAVY, *TRAINING, "scaling.sweep", "analysis"),
    ("scaling.sweep",): (*HEAVY, *TRAINING, "scaling.cli", "analysis"),
    ("scaling.model",): ("pandas", "scaling.plan", "scaling.train", "scaling.data", "analysis"),
    ("scaling.train",): ("pandas", "scaling.sweep", "scaling.cli", "analysis"),
    ("scaling.cli.main",): (*HEAVY, *TRAINING),
}


def below(name: str) -> list[str]:
    """``name`` and, for a package, every module of its own folder and those below; no ``__main__``."""
    path = ROOT / name.replace(".", "/")
    if not path.is_dir():
        return [name]
    found = [p.relative_to(ROOT).with_suffix("") for p in sorted(path.rglob("*.py")) if p.stem != "__main__"]
    modules = [".".join(p.parts).removesuffix(".__init__") for p in found]
    return [m for m in modules if "corpora" not in m]


@pytest.mark.parametrize("names", FORBIDDEN, ids=" ".join)
def test_what_an_import_pulls_in(names: tuple[str, ...]) -> None:
    modules = [module for name in names for module in below(name)]
    program = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        f"forbidden = {FORBIDDEN[names]!r}\n"
        "print(*[m for m in sys.modules if any((m + '.').startswith(f + '.') for f in forbidden)])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    pulled = sorted({name.split(".")[0] if "scaling" not in name else name for name in done.stdout.split()})
    assert not pulled, f"importing {', '.join(names)} imports {', '.join(pulled)}"


def test_help_answers_without_jax_or_pandas() -> None:
    program = (
        "import sys, atexit\n"
        f"heavy = {(*HEAVY, *TRAINING)!r}\n"
        "atexit.register(lambda: print('HEAVY', [m for m in heavy if m in sys.modules]))\n"
        "sys.argv = ['scaling', '--help']\n"
        "from scaling.cli.main import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "plan" in done.stdout
    assert done.stdout.splitlines()[-1] == "HEAVY []"


@pytest.mark.parametrize("shadow", [None, "analysis/__init__.py", "analysis/readme.txt", "analysis.py"])
def test_another_analysis_is_named(tmp_path: Path, shadow: str | None) -> None:
    if shadow:
        (tmp_path / shadow).parent.mkdir(exist_ok=True)
        (tmp_path / shadow).write_text("")
    program = (
        "from scaling.errors import UserError\n"
        "from scaling.own_analysis import require_own_analysis\n"
        "try: require_own_analysis()\n"
        "except UserError as error: print(error)"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, env=env
    )
    assert done.returncode == 0, done.stderr
    # A folder without __init__.py gives way to a package further down the path.
    hides = shadow is not None and shadow.endswith(".py")
    assert ("hides the one of scaling-laws" in done.stdout and str(tmp_path) in done.stdout) == hides


def test_what_docstrings_refer_to_is_there() -> None:
    found = set()
    for path in sources():
        found |= set(
            re.findall(
                r":(?:func|class|data|mod|attr|meth):`~?((?:analysis|scaling)\.[\w.]+)`",
                path.read_text("utf-8"),
            )
        )
    code = f"import pydoc; print([name for name in {sorted(found)!r} if pydoc.locate(name) is None])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(found) > 10 and done.stdout == "[]\n"
