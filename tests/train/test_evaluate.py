"""Evaluation by hand: weights, documents, standard error, counts."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

from scaling.data.index import EvalDocument
from scaling.data.store import EvalWindows
from scaling.model.roles import init_params
from scaling.model.transformer import make_model
from scaling.train.evaluate import make_evaluator, summarize
from scaling.train.record import _measured_counts
from scaling.train.sharding import make_mesh
from tests.train.runs import TINY, make_run


def documents(*names, set_name="held-out", target=True):
    """One window of each, as far as the sums are concerned."""
    return [EvalDocument(name, set_name, target, "store", 0, 10, 1, 10) for name in names]


def windows_of(count):
    """Ten tokens a window, each of a document of its own; bytes are not known."""
    return EvalWindows(np.zeros((count, 11), np.int32), np.ones((count, 10)), np.arange(count), None)


def test_padding_and_unused_documents_do_not_count():
    """Three windows of two of three documents; the last window is half padding."""
    windows = np.random.default_rng(0).integers(1, 256, (3, 33)).astype(np.int32)
    weights = np.ones((3, 32), np.float32)
    weights[2, 16:] = 0
    evaluated = EvalWindows(windows, weights, np.array([0, 0, 2]), np.array([32.0, 64.0, 24.0]))
    index = SimpleNamespace(eval_documents=documents("a", "b", "c"))
    store = SimpleNamespace(eval_windows=lambda: evaluated, index=index)
    model, params = make_model(TINY), init_params(TINY, 0)
    params["head/kernel"] = np.random.default_rng(1).normal(size=(16, 256)).astype(np.float32)
    evaluation = make_evaluator(SimpleNamespace(model=model, mesh=make_mesh(None, 8)), store)(params)
    losses = np.asarray(jax.jit(model.token_losses)(params, windows), np.float64)
    first, third = losses[:2].mean(), losses[2, :16].mean()
    assert evaluation.document_losses == pytest.approx({"a": first, "c": third}, rel=1e-6)
    assert evaluation.bits_per_byte == pytest.approx(evaluation.loss / np.log(2) * 80 / 120)
    assert evaluation.loss == pytest.approx((64 * first + 16 * third) / 80, rel=1e-6)
    assert evaluation.tokens == 80 and abs(first - third) > 1e-3


def test_standard_error_of_equal_documents_is_that_of_a_mean():
    losses = np.array([1.0, 2.0, 3.0, 6.0])
    evaluation = summarize(losses * 10, windows_of(4), documents("a", "b", "c", "d"))
    assert evaluation.loss == 3 and evaluation.loss_se == pytest.approx(losses.std(ddof=1) / 2)
    assert summarize(losses[:1], windows_of(1), documents("a")).loss_se is None


def test_loss_is_over_the_target_and_each_set_has_its_own():
    evaluated = documents("a", "b") + documents("a", set_name="other", target=False)
    evaluation = summarize(np.array([10.0, 30.0, 50.0]), windows_of(3), evaluated)
    assert evaluation.loss == 2.0 and evaluation.set_losses == {"held-out": 2.0, "other": 5.0}
    assert evaluation.document_losses == {"held-out/a": 1.0, "held-out/b": 3.0, "other/a": 5.0}
    assert evaluation.tokens == 20 and evaluation.bits_per_byte is None


def test_counts_are_checked_against_what_was_trained():
    run, params = make_run(), init_params(TINY, 0)
    assert _measured_counts(run, params).head == 16 * 256
    with pytest.raises(AssertionError, match="trained"):
        _measured_counts(run, params | {"final_norm/gain": np.ones(17)})
