"""``report``: a study or a table as one HTML file."""

import json
from pathlib import Path

from tests.cli.call import call

REFERENCE = Path(__file__).parents[2] / "results" / "reference" / "quickstart"


def test_a_study_has_its_spec_and_hashes_in_one_file(tmp_path):
    done = call("report", REFERENCE, "--no-check", "--out", tmp_path / "page.html", "--title", "A & B")
    assert done.returncode == 0 and done.stdout.splitlines()[0] == str(tmp_path / "page.html")
    assert done.stdout.splitlines()[-1] == f"next: scaling check {REFERENCE}"
    text = (tmp_path / "page.html").read_text("utf-8")
    assert (
        "<h1>A &amp; B</h1>" in text
        and "study: quickstart" in text
        and "The tests were not asked for" in text
    )
    assert "forecasts/422802ed9f0ceae2.json" in text and str(REFERENCE) not in text


def test_a_table_has_its_page_beside_it(tmp_path):
    (tmp_path / "mine.csv").write_bytes((REFERENCE / "runs.csv").read_bytes())
    done = call("report", tmp_path / "mine.csv", "--no-check", "--where", "seed == 0", "--json")
    found = json.loads(done.stdout)
    page = tmp_path / "mine.report.html"
    assert found == {"report": str(page), "bytes": page.stat().st_size}


def test_an_estimator_is_no_law_to_report():
    done = call("report", REFERENCE, "--law", "parabola")
    assert done.returncode == 2 and "--law parabola: an estimator of sizes has no law" in done.stderr


def test_a_page_is_a_file(tmp_path):
    for out, wrong in ((tmp_path, "is a folder"), (tmp_path / "none" / "page.html", "is in no folder")):
        done = call("report", REFERENCE, "--out", out)
        assert done.returncode == 2 and wrong in done.stderr and "Traceback" not in done.stderr
