import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis import AnalysisError
from analysis.tables.expressions import quantity, quoted
from analysis.tables.table import tell

FRAME = pd.DataFrame(
    {"a": [1.0, 2.0], "Model Size": [3.0, np.nan], "in": [5, 7], "label": ["x", "y"], "a/b": 9.0}
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a * in", [5, 14]), ("2*a/4", [0.5, 1]), ("a / (in * 2)", [0.1, 1 / 7]),
        ("`Model Size` * 1e3", [3e3, np.nan]),
        ("8 / 2 / 2", [2, 2]), ("`a/b` / a", [9, 4.5]), ("a/0", [np.inf, np.inf]),
    ],
)  # fmt: skip
def test_quantities(text, expected):
    np.testing.assert_allclose(quantity(text, FRAME), expected)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "it is empty"), ("a *", "expected a column or a number, found 'the end'"),
        ("a b", "expected '*', '/' or the end, found 'b'"), ("a * 'x'", "expected a column or a number"),
        ("a ** 2", "only '*' and '/' join"), ("a // 2", "only '*' and '/' join"), ("(a", "expected ')'"),
        ("a + 2", "no part of a quantity"), ("a < 2", "no part of a quantity"),
        ("a = 2", "no part of a quantity"),
        ("f(a)", "found '('"), ("b * a", "no column 'b'"), ("label * a", "'label' holds 'x'"),
        ("(" * 99 + "a" + ")" * 99, "nested more than 50 deep"), ("a.real", "no part of a quantity"),
    ],
)  # fmt: skip
def test_faults(text, says):
    with pytest.raises(AnalysisError) as error:
        quantity(text, FRAME)
    assert says in str(error.value)


def test_columns_go_by_the_names_of_the_file_too():
    frame = FRAME.rename(columns={"Model Size": "params"})
    tell(frame, columns={"Model Size": "params"})
    np.testing.assert_array_equal(quantity("`Model Size`", frame), quantity("params", frame))


@settings(max_examples=100, deadline=None)
@given(st.text(min_size=1, max_size=12))
def test_any_name_can_be_quoted(name):
    frame = pd.DataFrame({name: [2.0]})
    assert quantity(f"3 * {quoted(name)}", frame).tolist() == [6.0]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="ab`'\"()*/., 01e-\n_é", max_size=20))
def test_any_text_is_a_quantity_or_a_fault(text):
    try:
        quantity(text, FRAME)
    except AnalysisError as error:
        assert "quantity: " in str(error)
