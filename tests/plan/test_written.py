"""Specs written elsewhere, and specs of results folders, find the files that they name."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from scaling.errors import UserError
from scaling.files import write_json
from scaling.plan import coordcheck
from scaling.plan.data import resolve_data
from scaling.plan.expand import plan_spec
from scaling.plan.kept import load_spec
from scaling.plan.written import cell_text, spec_text, study_text
from scaling.spec.designs.cells import Added, Cell
from scaling.spec.load import load_study, study_from_dict
from scaling.store.folder import ResultsFolder
from tests.cli.call import call
from tests.plan.studies import PLAIN, changed

TEXTS = "data: {corpus: {kind: text, files: 'texts/*.txt'}, context: 64}"
SMALL = "evaluation: {documents: 5, tokens: 500}\n"


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> Path:
    """A spec that names files beside it."""
    folder = tmp_path_factory.mktemp("written") / "experiments"
    (folder / "texts").mkdir(parents=True)
    for i in range(30):
        words = " ".join(f"{word}{i * word % 97}" for word in range(300))
        (folder / "texts" / f"{i}.txt").write_text(words)
    path = folder / "my.yaml"
    path.write_text(PLAIN.replace("data: {corpus: state-of-the-union, context: 64}", TEXTS) + SMALL)
    return path


@pytest.fixture(scope="module")
def results(spec) -> ResultsFolder:
    """The results folder of that spec, planned."""
    study, plan = plan_spec(spec)
    found = ResultsFolder(spec.parents[1] / "results" / "s")
    found.path.mkdir(parents=True)
    write_json(found.plan, plan.to_json())
    found.spec.write_text(study_text(study))
    return found


def test_a_spec_written_elsewhere_plans_the_same_runs(spec, tmp_path):
    place, (study, plan) = tmp_path / "next.yaml", plan_spec(spec)
    place.write_text(spec_text(study, place, "a comment"))
    assert place.read_text().startswith("# a comment\nstudy: s\n")
    assert "\nfolder: ../" in place.read_text()
    again, planned = plan_spec(place)
    assert planned.identity == plan.identity and planned.spec_sha == plan.spec_sha
    place.write_text(study_text(again))  # as in a results folder, whose plan says where paths begin
    assert "folder" not in place.read_text()
    printed = spec_text(study, None)
    assert f"folder: {spec.parent.resolve()}\n" in printed


@pytest.mark.parametrize("files", ["texts/**/*.txt", "*/[0-9].txt", "none/yet.txt"])
def test_a_corpus_of_files_is_found_however_it_is_named(spec, tmp_path, files):
    """Files directly in a folder or below it, and some that are still to come."""
    path = spec.with_name("other.yaml")
    path.write_text(spec.read_text().replace("texts/*.txt", files))
    assert "\nfolder: ../" in spec_text(load_study(path), tmp_path / "next.yaml")


@pytest.mark.parametrize(
    "changes",
    [
        {"recipe__init_from": "abcdefabcdef"},
        {"data__tokenizer": {"kind": "file", "path": "t.json"}},
        {"variants": {"a": {}, "b": {"recipe.init_from": "w.safetensors"}}},
    ],
)
def test_other_fields_that_name_files_count_too(tmp_path, changes):
    assert "folder: " in spec_text(study_from_dict(changed(**changes)), tmp_path / "next.yaml")


def test_a_spec_that_names_no_file_or_lies_where_it_did_has_no_folder(spec, results, tmp_path):
    plain = tmp_path / "plain.yaml"
    plain.write_text(PLAIN)
    assert "folder" not in spec_text(load_study(plain), None)
    study = load_study(spec)
    assert "folder" not in spec_text(study, spec.parent / "other.yaml")
    assert "folder" not in spec_text(study, results.path / "next.yaml")


def test_a_folder_that_is_not_there_is_named_with_its_line(spec):
    path = spec.with_name("none.yaml")
    path.write_text(spec.read_text() + "folder: ../none\n")
    with pytest.raises(UserError, match=r"none\.yaml:\d+:9: folder: no such folder: .*none"):
        load_study(path)


@pytest.mark.parametrize("command", ["data prepare", "data inspect", "data verify", "plan --no-probe"])
def test_verbs_find_the_files_of_a_spec_in_a_results_folder(results, command):
    verb, *options = command.split(" --")
    done = call(*verb.split(), results.spec, *(f"--{option}" for option in options))
    assert done.returncode == 0, done.stderr


def test_coordcheck_finds_them_too(results, monkeypatch):
    def measure(cells, environment):
        raise coordcheck.CoordcheckFailed(f"{len(cells)} models")

    monkeypatch.setattr(coordcheck, "measure", measure)
    done = call("coordcheck", results.spec, "--steps", 1)
    assert done.returncode == 1 and done.stderr.endswith("6 models\n"), done.stderr


def test_optimal_and_next_find_them_too(results):
    assert resolve_data(load_spec(results.spec)).train_windows > 0
    asked = ("--fixed", "E=1.7,A=400,B=400,alpha=.34,beta=.28", "--compute", "1e12")
    done = call("optimal", *asked, "--spec", results.spec)
    assert done.returncode == 0 and f"folder: {load_spec(results.spec).source.folder}" in done.stdout


def test_a_cell_is_written_on_one_line_with_all_its_digits():
    for cell in (Cell(width=64, tokens=1234567), Added(width=8, depth=2, flops=1.7e11, seeds=(0, 3))):
        text = cell_text(cell)
        assert "\n" not in text and type(cell).model_validate(YAML(typ="safe").load(text)) == cell
