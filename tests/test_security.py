"""Loading specs, plans and tables runs nothing, and names from files stay in the results folder."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaling.errors import UserError
from scaling.plan.plan import Plan, load_plan
from scaling.spec.load import load_study, study_from_dict
from scaling.store.folder import ResultsFolder
from scaling.sweep.collect import collect
from scaling.sweep.status import logs, status
from tests.plan.studies import changed
from tests.spec.test_load import GOOD
from tests.sweep.plans import make_plan

ROOT = Path(__file__).parents[1]
# A user's own law is Python by design: the one place that may run a file that was named on the command line.
RUNS_USERS_LAW = "analysis/laws/lookup.py"
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "code", "codeop"}
RUNNERS = {"runpy", "imp", "importlib.machinery"}
RUN_FILES = {"run_path", "run_module", "spec_from_file_location", "module_from_spec", "exec_module"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
METHODS = {"query", "eval", "read_pickle", "to_pickle", "unsafe_load", "full_load", "unsafe_load_all"}
SHELL = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "commands.getoutput"}


def dotted(node: ast.expr) -> str:
    """``os.system`` for a name or an attribute of one; empty for anything else."""
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return node.id if isinstance(node, ast.Name) else ""


def dangers(source: str, *, may_run_laws: bool = False) -> Iterator[tuple[int, str]]:
    """Lines that unpickle, evaluate, or start a shell."""
    forbidden = MODULES if may_run_laws else MODULES | RUNNERS
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            base = getattr(node, "module", None) or ""
            names = [alias.name for alias in node.names]
            for name in {base, *names, *(f"{base}.{name}" for name in names)}:
                if name in forbidden | SHELL or name.split(".")[0] in forbidden:
                    yield node.lineno, f"import {name}"
        elif isinstance(node, ast.Call):
            yield from ((node.lineno, what) for what in _calls(node, may_run_laws))


def _calls(node: ast.Call, may_run_laws: bool) -> Iterator[str]:
    name, given = dotted(node.func), {k.arg: k.value for k in node.keywords}
    method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
    if name in SHELL or (not may_run_laws and (name in BUILTINS or name.split(".")[-1] in RUN_FILES)):
        yield name
    if method in METHODS:
        yield f".{method}()"
    if method == "load" and name.split(".")[0] in ("yaml", "torch"):
        yield name
    if isinstance(pickled := given.get("allow_pickle"), ast.expr) and not _is(pickled, False):
        yield "allow_pickle"
    if isinstance(shell := given.get("shell"), ast.expr) and not _is(shell, False):
        yield "shell"
    if name.endswith("YAML") and not all(
        _is(k, "safe") for k in [*node.args, *filter(None, [given.get("typ")])]
    ):
        yield f"{name} of another kind than safe"  # left out: round trip, which makes no objects either
    if name.endswith("import_module") and not (node.args and _ours(node.args[0])):
        yield "import of a module from anywhere"


def _is(node: ast.expr | None, value: object) -> bool:
    return isinstance(node, ast.Constant) and node.value == value


def _ours(node: ast.expr) -> bool:
    """Whether a text is written out, or begins with the name of one of our packages."""
    if isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[0], ast.Constant):
        return str(node.values[0].value).startswith(("scaling.", "analysis."))
    return isinstance(node, ast.Constant)


@pytest.mark.parametrize("package", ["scaling", "analysis"])
def test_nothing_unpickles_evaluates_or_starts_a_shell(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert len(files) > 10
    found = [
        f"{file.relative_to(ROOT)}:{line}: {what}"
        for file in files
        for line, what in dangers(
            file.read_text(encoding="utf-8"),
            may_run_laws=file.relative_to(ROOT).as_posix() == RUNS_USERS_LAW,
        )
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from pickle import loads", "import marshal as m", "import shelve", "import runpy",
        "from importlib import machinery", "importlib.util.spec_from_file_location(n, p)", "eval('1')",
        "exec(text)", "compile(text, '', 'exec')", "__import__(name)", "os.system('ls')", "os.popen(x)",
        "from os import system", "np.load(p, allow_pickle=True)", "np.load(p, allow_pickle=flag)",
        "pd.read_pickle(p)", "pd.eval(t)", "table.query(text)", "table.loc[0].eval(text)", "yaml.load(f)",
        "yaml.unsafe_load(f)", "YAML(typ=kind)", "YAML(typ='unsafe')", "ruamel.yaml.YAML('unsafe')",
        "torch.load(p)", "subprocess.run(c, shell=True)", "subprocess.getoutput(c)", "import_module(name)",
        "importlib.import_module(f'{name}.x')",
    ],
)  # fmt: skip
def test_the_scan_sees(source: str) -> None:
    assert list(dangers(source))


def test_the_scan_lets_through() -> None:
    good = """
import re, json, importlib.util
import_module("a")
import_module(f"analysis.{x}")
re.compile("x")
np.load(p)
np.load(p, allow_pickle=False)
YAML(typ="safe")
YAML().dump(x)
"""
    assert list(dangers(good + "subprocess.run(c)\nlowered.compile()\njson.load(f)")) == []
    assert list(dangers("import runpy", may_run_laws=True)) == []
    assert list(dangers("import pickle", may_run_laws=True)) != []


@pytest.mark.parametrize(
    "attack",
    [
        "!!python/object/apply:os.system ['touch {mark}']",
        "!!python/object/new:os.system ['touch {mark}']",
        "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{mark}']]",
        "!!python/name:os.system ''",
        "!!python/module:os ''",
        "{{__reduce__: ['os.system', ['touch {mark}']]}}",
        "\"__import__('os').system('touch {mark}')\"",
    ],
)
def test_a_spec_runs_nothing(tmp_path: Path, attack: str) -> None:
    mark, spec = tmp_path / "mark", tmp_path / "s.yaml"
    text = attack.format(mark=mark)
    spec.write_text(GOOD.replace("[0]", text, 1))
    with pytest.raises(UserError):
        load_study(spec)
    spec.write_text(GOOD)
    with pytest.raises(UserError):
        load_study(spec, [f"seeds={text}"])
    assert not mark.exists()


OUTSIDE = [
    "../../x",
    "..",
    ".",
    "/etc",
    "a/b",
    "a\\b",
    "",
    "x\n",
    "x\0",
    "~",
    "../" * 20 + "tmp/x",
    "ﬀ",
    "a" * 65,
]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_study_cannot_be_named_out_of_the_results_folder(name: str) -> None:
    with pytest.raises(UserError, match="study"):
        study_from_dict(changed(study=name))
    with pytest.raises(UserError, match="study"):
        Plan.from_json({**make_plan([(8, 100)]), "study": "a" * 101 if len(name) == 65 else name})


@pytest.mark.parametrize("name", [*OUTSIDE, "0" * 11, "0" * 13, "0" * 12 + "\n", "A" * 12, "٠" * 12])
def test_ids_from_a_plan_cannot_leave_the_results_folder(tmp_path: Path, name: str) -> None:
    results = ResultsFolder(tmp_path / "results")
    for path in (results.run_dir, results.job_dir):
        with pytest.raises(UserError, match="must be 12 hex digits"):
            path(name)
    for read in (results.record, results.error, results.run_state):
        with pytest.raises(UserError):
            read(name)
    for spoil in ("run_id", "job_id", "run_ids", "flops_spent"):
        plan = make_plan([(8, 100), (8, 200)])
        if spoil == "run_ids":
            plan["jobs"][0]["run_ids"][0] = name
        elif spoil == "flops_spent":
            plan["jobs"][0]["flops_spent"][name] = 1
        else:
            plan["runs"][0][spoil] = name
        results.path.mkdir(exist_ok=True)
        results.plan.write_text(json.dumps(plan))
        for read in (load_plan, lambda r: status(r.path), lambda r: collect(r.path)):
            with pytest.raises(UserError):
                read(results)
        with pytest.raises(UserError):
            logs(results.path, name)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["plan.json", "results"], "nothing was written"


def test_a_recorded_name_outside_is_not_followed(tmp_path: Path) -> None:
    """Folders under runs/ that are no ids are not the study's."""
    results = ResultsFolder(tmp_path)
    (tmp_path / "runs" / "..x").mkdir(parents=True)
    (tmp_path / "runs" / "..x" / "record.json").write_text("{}")
    assert results.recorded() == set()
