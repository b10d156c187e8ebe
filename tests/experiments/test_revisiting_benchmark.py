"""experiments/published/revisiting_benchmark.py on the data that it names."""

import pytest


@pytest.mark.slow
def test_all_verdicts_pass(script, published, failed):
    assert failed(script("revisiting_benchmark").verdicts(published / "revisiting_benchmark")) == (2, [])
