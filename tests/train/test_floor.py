"""Training on a source whose entropy is known: a loss below it would be a leak."""

import pytest

from scaling.corpora.content import GeneratedContent
from scaling.corpora.santa_fe import SantaFe
from scaling.counts.shape import Shape
from scaling.data.index import index_of
from scaling.run import run_id
from scaling.train.program import Blueprint, make_program
from tests.train.jobs import results_of, train
from tests.train.runs import make_run


@pytest.mark.slow
def test_loss_comes_down_to_the_true_entropy_and_not_below(tmp_path):
    """Seven coarse facts, whose loss of memory costs a third of the entropy."""
    corpus = SantaFe(kind="santa-fe", levels=3, address_bits=3, value_bits=2, noise=0.1)
    index = index_of(GeneratedContent(kind="generated", corpus=corpus, tokens=32768), 16)
    shape = Shape(depth=1, width=16, heads=2, kv_heads=2, head_dim=8, mlp_width=40, vocab_size=11, context=16)
    run = make_run(steps=400, shape=shape, fingerprint=index.fingerprint, batch_sequences=16)
    train(tmp_path, [run], index, make_program(Blueprint.of(run, 50)), chunk_steps=50)
    result = results_of(tmp_path, [run])[run_id(run)]
    floor, error = result["loss_floor"], result["loss_se_eval"]
    assert floor == pytest.approx(corpus.entropy(16)) and error < 0.01 * floor
    assert corpus.oracle(0, 16) > 1.3 * floor
    assert floor - 3 * error < result["loss"] < 1.02 * floor + 3 * error
