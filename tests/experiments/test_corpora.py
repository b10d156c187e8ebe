"""The compute multipliers of Gadre's corpora."""

import pytest


@pytest.mark.slow
def test_every_corpus_needs_least_at_home(script, published, failed):
    assert failed(script("corpora").verdicts(published / "gadre")) == (7, [])
