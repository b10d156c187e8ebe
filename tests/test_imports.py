"""Which way imports point: what a module pulls in, seen in a fresh process, and what each room may name."""

from __future__ import annotations

import ast
import functools
import json
import os
import pydoc
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

ARCHITECTURE = ROOT / "docs" / "architecture.md"
# The public face, and how a package is started: they only hand on what rooms hold.
FACES = ("analysis", "scaling", "scaling.__main__")
# Imports that are still to be cut. A line that is no longer needed fails: delete it.
STILL_UPWARD: set[tuple[str, str]] = set()


def modules() -> dict[str, Path]:
    """Every module of both packages by its dotted name."""
    paths = sorted([*(ROOT / "scaling").rglob("*.py"), *(ROOT / "analysis").rglob("*.py")])
    names = (".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths)
    return {name.removesuffix(".__init__"): path for name, path in zip(names, paths, strict=True)}


MODULES = modules()


def rooms() -> dict[str, tuple[str, ...]]:
    """Room -> what it may import, from the table of docs/architecture.md."""
    allowed: dict[str, tuple[str, ...]] = {}
    for line in ARCHITECTURE.read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not re.fullmatch(r"\| `(scaling|analysis)\.\w+` \|.*", line):
            continue
        room, imports = cells[0].strip("`"), cells[2]
        package = room.split(".")[0]
        if imports == "all above":
            names = tuple(name for name in allowed if name.startswith(f"{package}."))
        else:
            names = tuple(
                name if name in ("analysis", "scaling") else f"{package}.{name}"
                for name in re.findall(r"`([\w.]+)`", imports)
            )
        assert room not in allowed, f"{room} stands twice in {ARCHITECTURE.name}"
        allowed[room] = (room, *names)
    return allowed


@functools.cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text("utf-8"))


def is_below(name: str, room: str) -> bool:
    return f"{name}.".startswith(f"{room}.")


def imports(module: str, types: bool) -> list[tuple[int, str]]:
    """(line, dotted name) of all that ``module`` imports of this repository, inside functions too.

    ``types`` includes imports that only a type checker sees.
    """
    path = MODULES[module]
    package = module.split(".") if path.stem == "__init__" else module.split(".")[:-1]
    found: list[tuple[int, str]] = []
    pending: list[ast.AST] = [tree(module)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and not types and "TYPE_CHECKING" in ast.unparse(node.test):
            pending += node.orelse
            continue
        pending += (child for child in ast.iter_child_nodes(node) if not isinstance(child, ast.expr))
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            found += [(node.lineno, f"{source}.{alias.name}") for alias in node.names]
    return [
        (line, name) for line, name in found if name.split(".")[0] in ("scaling", "analysis", "experiments")
    ]


def module_of(name: str) -> str:
    """The module that ``from package import name`` reads: ``package.name`` itself, or where it is defined."""
    while name not in MODULES and "." in name:
        name = name.rpartition(".")[0]
    return name


def test_rooms_import_what_the_table_of_the_architecture_says() -> None:
    allowed, wrong, upward = rooms(), [], set()
    assert len(allowed) > 20
    for module in MODULES:
        if module in FACES:
            continue
        room = ".".join(module.split(".")[:2])
        assert room in allowed, f"{room}: a new room needs a row in {ARCHITECTURE.name}"
        for line, name in imports(module, types=True):
            target = ".".join(name.split(".")[:2])
            if name == "scaling.__version__" or any(is_below(name, other) for other in allowed[room]):
                continue
            if (room, target) in STILL_UPWARD:
                upward.add((room, target))
            else:
                wrong.append(f"{MODULES[module].relative_to(ROOT)}:{line}: {room} may not import {name}")
    assert not wrong, "\n".join(wrong)
    assert upward == STILL_UPWARD, f"cut, so delete from STILL_UPWARD: {STILL_UPWARD - upward}"


def test_every_row_of_the_architecture_is_a_room_and_points_down() -> None:
    allowed = rooms()
    seen: list[str] = []
    for room, names in allowed.items():
        assert room in MODULES, f"{ARCHITECTURE.name}: there is no {room}"
        for name in names[1:]:
            if name in ("analysis", "scaling"):
                assert (room.split(".")[0], name) == ("scaling", "analysis")
            else:
                assert name in MODULES and ".".join(name.split(".")[:2]) in seen, f"{room}: {name}"
        seen.append(room)


def test_no_module_imports_itself_through_others() -> None:
    graph = {
        module: {module_of(name) for _, name in imports(module, types=False)} - {module} for module in MODULES
    }
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


HEAVY = ("jax", "pandas", "scipy", "matplotlib")
TRAINING = ("jax", "flax", "optax", "orbax", "scaling.train", "scaling.model")
TRACKERS = ("scaling.trackers", "wandb", "tensorboard", "trackio")
# Modules that one process imports in turn -> what must not have been imported by then, by them or by
# those before. ``analysis`` has a test of its own.
WITHOUT_TRAINING = {
    "scaling.errors": (*HEAVY, "numpy", "pydantic"),
    "scaling.counts.flops": (*HEAVY, "numpy", "scaling.plan", "scaling.spec"),
    "scaling.counts.params": (*HEAVY, "numpy", "scaling.plan", "scaling.spec"),
    "scaling.spec": (*HEAVY, *TRAINING, "scaling.plan", "scaling.data", "analysis"),
    "scaling.data.index": (*HEAVY, *TRAINING, "numpy", "scaling.plan", "analysis"),
    "scaling.data": (*HEAVY, *TRAINING, "scaling.plan", "analysis"),
    "scaling.plan": (*HEAVY, *TRAINING, "scaling.sweep", "analysis"),
    "scaling.sweep": (*HEAVY, *TRAINING, *TRACKERS, "scaling.cli", "analysis"),
    "scaling.cli.main": (*HEAVY, *TRAINING, *TRACKERS),
}
FOLLOWING = {"scaling.trackers.__main__": (*HEAVY, *TRAINING, *TRACKERS[1:], "scaling.sweep", "analysis")}
TRAINING_ALONE = {
    "scaling.model": ("pandas", "scaling.plan", "scaling.train", "scaling.data", "analysis"),
    "scaling.train": ("pandas", "scaling.sweep", "scaling.cli", "analysis"),
}


def below(name: str) -> list[str]:
    """``name`` and, for a package, every module of its own folder and those below; no ``__main__``."""
    path = ROOT / name.replace(".", "/")
    if not path.is_dir():
        return [name]
    found = [p.relative_to(ROOT).with_suffix("") for p in sorted(path.rglob("*.py")) if p.stem != "__main__"]
    modules = [".".join(p.parts).removesuffix(".__init__") for p in found]
    return [m for m in modules if "corpora" not in m]


@pytest.mark.parametrize(
    "forbidden", [WITHOUT_TRAINING, FOLLOWING, TRAINING_ALONE], ids=["planning", "trackers", "training"]
)
def test_what_an_import_pulls_in(forbidden: dict[str, tuple[str, ...]]) -> None:
    program = (
        "import importlib, json, sys\n"
        "def pulled(modules, forbidden):\n"
        "    for name in modules: importlib.import_module(name)\n"
        "    return [m for m in sys.modules if any((m + '.').startswith(f + '.') for f in forbidden)]\n"
        f"asked = {[(name, below(name), names) for name, names in forbidden.items()]!r}\n"
        "print(json.dumps({name: pulled(*rest) for name, *rest in asked}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    found = {
        name: {module if "scaling" in module else module.partition(".")[0] for module in modules}
        for name, modules in json.loads(done.stdout).items()
    }
    assert not {name: modules for name, modules in found.items() if modules}


def test_help_answers_at_once() -> None:
    program = (
        "import sys, atexit\n"
        f"heavy = {(*HEAVY, *TRAINING, 'pydantic')!r}\n"
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
    for path in MODULES.values():
        found |= set(
            re.findall(
                r":(?:func|class|data|mod|attr|meth):`~?((?:analysis|scaling)\.[\w.]+)`",
                path.read_text("utf-8"),
            )
        )
    assert len(found) > 10 and not [name for name in sorted(found) if pydoc.locate(name) is None]
