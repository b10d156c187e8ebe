import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import AnalysisError
from analysis.tables.table import tell
from analysis.tables.where import Comparison, Joined, Not, parse

FRAME = pd.DataFrame(
    {
        "loss": [1.0, 2.0, np.nan, 4.0],
        "label": ["a", "b", None, 'say "a"'],
        "done": [True, False, True, False],
        "Model Size": [1, 2, 3, 4],
        "and": [0, 0, 1, 1],
        "nothing": [None] * 4,
    }
)


def rows(text):
    return np.flatnonzero(parse(text).mask(FRAME)).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("loss < 2", [0]),
        ("loss <= 2", [0, 1]),
        ("loss > 1 and loss < 4", [1]),
        ("loss >= 2", [1, 3]),
        ("loss == 1 or loss == 4 and done == true", [0]),
        ("(loss == 1 or loss == 4) and done == false", [3]),
        ("not loss == 1", [1, 2, 3]),
        ("not (loss == 1 or label == 'b')", [2, 3]),
        ("not not loss == 1", [0]),
        ("loss != 1", [1, 2, 3]),
        ("loss == empty", [2]),
        ("loss != empty", [0, 1, 3]),
        ('label == "say \\"a\\""', [3]),
        ("label in ('a', \"b\")", [0, 1]),
        ("label not in ('a', empty)", [1, 3]),
        ("loss in (1, 4, empty)", [0, 2, 3]),
        ("done == TRUE", [0, 2]),
        ("`Model Size`>=3", [2, 3]),
        ("`and` == 1", [2, 3]),
        ("loss < 1e400 and loss > -.5E1", [0, 1, 3]),
        ("nothing == 3 or nothing == 'a'", []),
        ("nothing == empty", [0, 1, 2, 3]),
    ],
)
def test_rows(text, expected):
    assert rows(text) == expected
    assert rows(str(parse(text))) == expected


@pytest.mark.parametrize(
    ("text", "says", "at"),
    [
        ("", "it is empty", 1),
        ("loss", "expected one of == != ", 5),
        ("loss < ", "expected a number", 8),
        ("loss = 3", "write '=='", 6),
        ("loss < 3 & done == true", "write 'and'", 10),
        ("label == b", 'text needs quotes: "b"', 10),
        ("label == 'b", "a quote is not closed", 10),
        ("`label == 'b'", "a quote is not closed", 1),
        ("loss < 3.2.1", "no part of a filter", 8),
        ("loss < 3 loss > 2", "expected 'and', 'or' or the end", 10),
        ("1 < loss", "expected a column, found '1'", 1),
        ("loss < 3 < 4", "no more than one comparison", 10),
        ("(loss < 3", "expected ')' for the '(' at character 1", 10),
        ("loss < 3)", "found ')'", 9),
        ("loss in 3", "expected '(' and values", 9),
        ("loss in (3", "expected ',' or ')'", 11),
        ("loss < 'a'", "numbers only", 8),
        ("loss not < 3", "expected one of", 10),
        ("__import__('os').system('x') == 0", "expected one of", 11),
        ("loss + 1 < 3", "no part of a filter", 6),
        ("loss.max == 3", "no part of a filter", 5),
    ],
)
def test_faults_are_pointed_at(text, says, at):
    with pytest.raises(AnalysisError) as error:
        parse(text)
    message, shown, caret, *_ = str(error.value).split("\n")
    assert says in message and message.endswith(f"at character {at}")
    assert shown == f"  {text}" and caret == " " * (at + 1) + "^"


@pytest.mark.parametrize("text", ["(" * 10_000 + "loss < 3" + ")" * 10_000, "not " * 10_000 + "loss < 3"])
def test_depth_is_bounded(text):
    with pytest.raises(AnalysisError, match="nested more than 50 deep"):
        parse(text)


def test_length_is_not_bounded_by_depth():
    text = " or ".join(["(loss < 3)", "not loss > 3"] * 500)
    assert rows(text) == [0, 1, 2]


def test_unknown_columns_and_other_types_are_named_at_once():
    with pytest.raises(AnalysisError) as error:
        parse("lable == 'a' or label == 3 or loss == 'a' or done == 1 or label == true").mask(FRAME)
    unknown, text, number, boolean, truth = map(str, error.value.problems)
    assert "no column 'lable'; did you mean 'label'?" in unknown
    assert "'label' holds text" in text and "compared with 3" in text
    assert "'loss' holds numbers" in number and 'compared with "a"' in number
    assert "'done' holds booleans" in boolean and "write done == true" in boolean
    assert "'label' holds text" in truth


def test_columns_also_go_by_the_name_they_had_in_the_file():
    frame = FRAME.rename(columns={"Model Size": "params"})
    tell(frame, columns={"Model Size": "params"})
    assert parse("`Model Size` > 3").mask(frame).sum() == parse("params > 3").mask(frame).sum() == 1


names = st.text(min_size=1, max_size=8) | st.sampled_from(["loss", "not", "a b", "`", "true"])
values = st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=6)
equalities = st.builds(Comparison, names, st.sampled_from(["==", "!="]), st.tuples(values))
orders = st.builds(Comparison, names, st.sampled_from(["<", ">="]), st.tuples(st.floats(allow_nan=False)))
sets = st.builds(
    Comparison, names, st.sampled_from(["in", "not in"]), st.lists(values, min_size=1).map(tuple)
)
conditions = st.recursive(
    equalities | orders | sets,
    lambda part: (
        st.builds(Not, part)
        | st.builds(Joined, st.sampled_from(["and", "or"]), st.lists(part, min_size=2, max_size=3).map(tuple))
    ),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(conditions)
def test_text_round_trips(condition):
    again = parse(str(condition))
    assert again == condition and str(again) == str(condition)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab`'\"\\()<>=!,.& 01eE+-\n_é", max_size=30) | st.text(max_size=20))
def test_any_text_is_a_condition_or_a_fault(text):
    try:
        parse(text)
    except AnalysisError as error:
        assert "at character" in str(error)
