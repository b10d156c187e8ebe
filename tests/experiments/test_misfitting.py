"""experiments/published/misfitting.py on the data that it names."""

import pytest


@pytest.mark.slow
def test_all_verdicts_pass(script, published, failed):
    assert failed(script("misfitting").verdicts(published / "misfitting")) == (3, [])
