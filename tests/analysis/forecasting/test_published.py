"""The file of published forecasts: what is wrong is said at once, what is there stays."""

from pathlib import Path

import pytest

from analysis import AnalysisError
from analysis.forecasting.published import Published, add, read

HEADER = "name,source,reported,predicted,low,high,level,measured,flops,fitted_flops"
GADRE = Path(__file__).parents[3] / "experiments" / "published" / "published_forecasts.csv"


def written(folder, *rows, header=HEADER):
    path = folder / "given.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_all_that_is_wrong_is_said_with_its_line(tmp_path):
    path = written(
        tmp_path,
        "a,x,with,2,,,,,,",
        ",x,wit,two,,,,-1,,1e20",
        "b,x,with,,1.9,,,,,",
        "c,x,with,3,2.2,2.1,90,,,",
        "d,x,with,3,2.1,2.2,.9,,,",
        "a,x,with,2.5,,,,,,",
        "e,x,with",
        "f,x,with,,,,,2,,",
    )
    with pytest.raises(AnalysisError) as refused:
        read(path)
    said = [str(problem).removeprefix(f"{path}:").partition(";")[0] for problem in refused.value.problems]
    assert said == [
        "3: name: is empty",
        "3: reported = 'wit': must be one of before, with",
        "3: predicted = 'two': must be a finite, positive number",
        "3: measured = '-1': must be a finite, positive number",
        "3: has fitted_flops and no flops",
        "4: has low of an interval",
        "5: level = '90': must be between 0 and 1, such as 0.9",
        "5: low = 2.2, high = 2.1: low must be below high",
        "6: predicted = 3 is not within [2.1, 2.2]",
        "7: 'a' of 'x' stands twice",
        "8: has 3 cells where the header has 10",
        "9: has neither a predicted value nor an interval",
    ]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("name,source,reported,predictd", "did you mean predicted"),
        ("name,reported,predicted", "column 'source' is missing"),
        ("name,name,source,reported,predicted", "stands twice"),
        ("", "column 'name' is missing"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, header, message):
    with pytest.raises(AnalysisError, match=message):
        read(written(tmp_path, header=header))


@pytest.mark.parametrize("content", [b'name,source\n"a', b"\xff\xfe", None])
def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path, content):
    path = tmp_path / "given.csv"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(AnalysisError, match=r"given\.csv"):
        read(path)


def test_only_an_outcome_that_was_not_known_changes_what_is_there(tmp_path):
    path = tmp_path / "new" / "kept.csv"
    open_ = Published("a, b", "x", "before", predicted=2.0, low=1.9, high=2.2, level=0.9)
    known = Published("a, b", "x", "before", predicted=2.0, low=1.9, high=2.2, level=0.9, measured=2.1)
    other = Published("a, b", "y", "with", predicted=1 / 3, flops=3e21, fitted_flops=1e20)
    assert [add([open_, other], path), add([open_], path), add([known], path)] == [2, 0, 1]
    assert read(path) == (known, other) and other.extrapolation == 30
    before = path.read_bytes()
    for changed in (open_, Published("a, b", "x", "before", predicted=2.5, measured=2.1)):
        with pytest.raises(AnalysisError, match=r"is there with other content: (measured|predicted) = "):
            add([other, changed], path)
    assert path.read_bytes() == before


def test_comments_are_passed_over_and_kept(tmp_path):
    path = written(tmp_path, HEADER, "# of a talk, 3 of them", "a,x,with,2,,,,,,", header="# by hand")
    assert [one.name for one in read(path)] == ["a"]
    add([Published("b", "x", "with", predicted=2.0)], path)
    assert [one.name for one in read(path)] == ["a", "b"] and "# of a talk, 3 of them\n" in path.read_text()


def test_the_forecasts_of_gadre_err_as_they_published():
    errors = [one.centre / one.measured - 1 for one in read(GADRE)]
    assert errors == pytest.approx([0.007103, 0.007320], abs=5e-5)  # as their notebook says
