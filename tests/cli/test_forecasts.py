"""``forecasts``: the reference studies' forecasts listed, and published ones entered."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.call import call

REFERENCE = Path(__file__).parents[2] / "results" / "reference"


def test_forecasts_of_a_folder_are_listed_with_scores_and_calibration(tmp_path):
    place = REFERENCE / "vocabulary"
    done = call("forecasts", place, "--plot", tmp_path / "drawn")
    assert (
        done.returncode == 0 and "3 scored" in done.stdout and "3 forecasts in 3 independent" in done.stdout
    )
    assert "+1.64%  +0.91  inside" in done.stdout and (tmp_path / "drawn" / "calibration.png").exists()
    found = json.loads(call("forecasts", "list", place, "--json").stdout)
    assert [one["state"] for one in found["forecasts"]] == ["scored"] * 3
    shipped = found["discrepancy"]["shipped"]
    assert shipped["kappa"] > 0 and found["discrepancy"]["ratio"] is None
    assert (
        f"shipped: kappa {shipped['kappa']:.2g}" in done.stdout
        and "3 scored forecasts had no such" in done.stdout
    )
    assert found["calibration"]["coverage"][2]["inside"] == 3 and found["published"] == []


def test_published_ones_are_entered_and_kept_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("forecasts").returncode == 2
    one = ("forecasts", "add", "--name", "big", "--source", "arXiv:1", "--reported", "before", "--low", "2",
           "--high", "2.2", "--level", ".9")  # fmt: skip
    assert "1 forecast entered" in call(*one).stdout
    assert "1 there already" in call(*one).stdout
    assert json.loads(call(*one, "--measured", "2.3", "--json").stdout)["entered"] == 1
    shutil.copytree(REFERENCE / "vocabulary", "results/vocabulary")
    shown = call("forecasts").stdout
    assert "big" in shown and "before its outcome" in shown
    found = json.loads(call("forecasts", "--json").stdout)
    assert len(found["calibration"]["outcomes"]) == 3 and len(found["published_calibration"]["outcomes"]) == 1
    assert (
        found["published_calibration"]["status"]["code"] == "too_narrow" or found["published"][0]["measured"]
    )


@pytest.mark.parametrize(
    "arguments", [("add",), ("add", "x.csv", "--name", "a"), ("add", "--name", "a"), ("x",)]
)
def test_bad_usage_is_exit_code_2(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = call("forecasts", *arguments)
    assert done.returncode == 2 and done.stderr and "Traceback" not in done.stderr


def test_a_damaged_forecast_is_left_out_and_said(tmp_path):
    shutil.copytree(REFERENCE / "vocabulary", tmp_path / "v")
    path = next((tmp_path / "v" / "bytes" / "forecasts").glob("*.score.json"))
    path.write_text("{")
    done = call("forecasts", tmp_path)
    assert done.returncode == 1 and "2 scored" in done.stdout and path.name in done.stderr
