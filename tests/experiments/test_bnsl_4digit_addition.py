import pytest

pytestmark = pytest.mark.slow


def test_the_break_is_found(script, published, failed):
    name = "bnsl_4digit_addition"
    assert failed(script(name).verdicts(published / name)) == (2, [])
