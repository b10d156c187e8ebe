"""The script on the isoFLOP runs of Llama models."""

import pytest

pytestmark = pytest.mark.slow


def test_what_a_careful_analyst_finds(script, published, failed):
    assert failed(script("xlstm_isoflop").verdicts(published / "xlstm_isoflop")) == (3, [])


def test_another_batch_at_one_budget_can_fail(script, published):
    """Without what the batch costs, the two sweeps agree, and the verdict says so."""
    xlstm = script("xlstm_isoflop")
    table = xlstm.runs(published / "xlstm_isoflop")
    small = table[table["tag"] == "sclaw_llama_iso2"].set_index("params")["loss"]
    same = table["params"].map(small)
    pair = (table["tag"] == "sclaw_llama_iso1") & same.notna()
    equal = table.assign(loss=table["loss"].where(~pair, same))
    verdict = list(xlstm.batches(equal))[-1]
    assert not verdict.passed
