import pytest

pytestmark = pytest.mark.slow


def test_a_bound_for_repeated_data(script, published, failed):
    assert failed(script("muennighoff").verdicts(published / "muennighoff")) == (5, [])
