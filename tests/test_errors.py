"""A user's error has one form in both packages, though neither imports the other."""

from dataclasses import fields

import pytest

from analysis import errors as of_analysis
from scaling import errors as of_scaling


def test_both_packages_complain_in_the_same_fields():
    ours, theirs = (fields(module.Complaint) for module in (of_scaling, of_analysis))
    assert [(f.name, f.default) for f in ours] == [(f.name, f.default) for f in theirs]
    assert {f.name for f in ours} == {"message", "where", "value", "hint"}


@pytest.mark.parametrize("where", ["", "spec.yaml:3:5"])
@pytest.mark.parametrize("hint", ["", "give a number"])
@pytest.mark.parametrize("value", ["", "width: many"])
def test_both_packages_print_them_alike(where, hint, value):
    given = {"message": "must be a number", "where": where, "hint": hint, "value": value}
    ours, theirs = of_scaling.Complaint(**given), of_analysis.Complaint(**given)
    assert str(ours) == str(theirs)
    assert str(of_scaling.UserError(ours, "and so")) == str(of_analysis.AnalysisError([theirs, "and so"]))


def test_a_string_is_a_complaint_without_more():
    for error, kind in (
        (of_scaling.UserError("is empty"), of_scaling.Complaint),
        (of_analysis.AnalysisError("is empty"), of_analysis.Complaint),
    ):
        assert error.problems == (kind("is empty"),) and str(error) == "is empty"


def test_arguments_are_spelled_by_whoever_prints_them():
    flops = of_analysis.Argument("columns", {"flops": None})
    complaint = of_analysis.Complaint("no such column", of_analysis.Argument("groups", "x"), ("say ", flops))
    assert str(complaint) == "groups='x': no such column; say columns={'flops': None}"
    assert complaint.text(lambda a: f"--{a.name}") == "--groups: no such column; say --columns"


def test_one_is_no_plural():
    assert [of_analysis.plural(n, "run") for n in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
