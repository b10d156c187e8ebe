"""Evaluation by hand: weights, documents, standard error, counts."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from scaling.model.roles import init_params
from scaling.model.transformer import make_model
from scaling.train.evaluate import make_evaluator, summarize
from scaling.train.record import _measured_counts
from tests.train.runs import TINY, make_run


def test_padding_and_unused_documents_do_not_count():
    """Three windows of two of three documents; the last window is half padding."""
    windows = np.random.default_rng(0).integers(1, 256, (3, 33)).astype(np.int32)
    weights = np.ones((3, 32), np.float32)
    weights[2, 16:] = 0
    store = SimpleNamespace(eval_windows=lambda: (windows, weights, np.array([0, 0, 2])))
    model, params = make_model(TINY), init_params(TINY, 0)
    params["head/kernel"] = np.random.default_rng(1).normal(size=(16, 256)).astype(np.float32)
    evaluation = make_evaluator(SimpleNamespace(model=model), store)(params)
    losses = np.asarray(jax.jit(model.token_losses)(params, windows), np.float64)
    first, third = losses[:2].mean(), losses[2, :16].mean()
    assert evaluation.document_losses == pytest.approx((first, third), rel=1e-6)
    assert evaluation.loss == pytest.approx((64 * first + 16 * third) / 80, rel=1e-6)
    assert evaluation.tokens == 80 and abs(first - third) > 1e-3


def test_standard_error_of_equal_documents_is_that_of_a_mean():
    losses = np.array([1.0, 2.0, 3.0, 6.0])
    evaluation = summarize(losses * 10, np.full(4, 10.0), np.arange(4))
    assert evaluation.loss == 3 and evaluation.loss_se == pytest.approx(losses.std(ddof=1) / 2)
    assert summarize(losses[:1], np.ones(1), np.zeros(1, int)).loss_se is None


def test_counts_are_checked_against_what_was_trained():
    run, params = make_run(), init_params(TINY, 0)
    assert _measured_counts(run, params).head == 16 * 256
    with pytest.raises(AssertionError, match="trained"):
        _measured_counts(run, params | {"final_norm/gain": np.ones(17)})
