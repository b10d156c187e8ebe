"""experiments/published/olmo_ladder.py on the data that it names."""

import pytest


@pytest.mark.slow
def test_all_verdicts_pass(script, published, failed):
    assert failed(script("olmo_ladder").verdicts(published / "olmo_ladder")) == (5, [])
