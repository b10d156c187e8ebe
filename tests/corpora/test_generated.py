"""What every generated corpus promises, for each kind."""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import ValidationError

from scaling.corpora.draws import words_of
from scaling.corpora.generated import EVALUATION, GeneratedCorpus
from scaling.corpora.hierarchy import Hierarchy
from scaling.corpora.santa_fe import SantaFe
from scaling.corpora.zipf_markov import ZipfMarkov

ZOO: dict[str, tuple[type[GeneratedCorpus], dict[str, Any]]] = {
    "santa-fe": (SantaFe, {}),
    "santa-fe without noise": (SantaFe, {"noise": 0, "address_bits": 3, "levels": 9, "value_bits": 4}),
    "hierarchy": (Hierarchy, {"levels": 3}),
    "hierarchy of fives": (Hierarchy, {"branching": 5, "symbols": 4, "rules": 5, "levels": 1}),
    "zipf-markov": (ZipfMarkov, {}),
    "zipf-markov of few": (ZipfMarkov, {"states": 10, "alpha": 1, "successors": 3}),
}
SEEDS = range(24)

each = pytest.mark.parametrize("name", list(ZOO))


def corpus(name: str, **fields: Any) -> GeneratedCorpus:
    model, own = ZOO[name]
    return model.model_validate({"kind": name.split()[0]} | own | fields)


@each
def test_a_window_is_a_function_of_seed_and_index_alone(name: str) -> None:
    source = corpus(name)
    indices = np.array([5, 0, 2**32, 2**32 + 5, 2**62 - 1, EVALUATION, 2**63 - 1], np.int64)
    windows = source.windows(indices, 40)
    assert windows.shape == (7, 41) and windows.dtype == np.int32
    for index, window in zip(indices, windows, strict=True):
        assert np.array_equal(corpus(name).windows(np.array([index]), 40)[0], window)
    assert np.array_equal(source.windows(indices, 17), windows[:, :18])
    assert len(np.unique(windows, axis=0)) == 7
    assert not np.array_equal(corpus(name, seed=1).windows(indices, 40), windows)


@each
def test_many_windows_are_made_as_few_are(name: str) -> None:
    source = corpus(name)
    assert np.array_equal(
        source.windows(np.arange(5000), 15)[4990:], source.windows(np.arange(4990, 5000), 15)
    )
    assert source.windows(np.arange(0), 15).shape == (0, 16)


@pytest.mark.slow
@each
def test_jax_makes_the_same_integers(name: str) -> None:
    source = corpus(name, seed=2**32 - 1)
    indices = np.concatenate([np.arange(50), 2**40 + np.arange(50), EVALUATION + np.arange(50)])
    made = jax.jit(lambda words: source.windows(words, 40, jnp))(words_of(indices))
    assert made.dtype == jnp.int32
    assert np.array_equal(np.asarray(made), source.windows(indices, 40))


@each
def test_tokens_fill_the_vocabulary_and_do_not_leave_it(name: str) -> None:
    source = corpus(name)
    windows = source.evaluation_windows(400, 40)
    assert windows.min() == 0 and source.vocab_size // 2 < windows.max() < source.vocab_size
    facts = source.facts()
    assert (facts.name, facts.vocab_size, facts.separator) == (source.kind, source.vocab_size, None)
    assert np.dtype(facts.dtype).type(source.vocab_size - 1) == source.vocab_size - 1


@each
def test_training_and_evaluation_never_meet(name: str) -> None:
    source = corpus(name)
    assert source.training_windows(np.array([0, EVALUATION - 1]), 10).shape == (2, 11)
    for index in (-1, EVALUATION, EVALUATION + 7):
        with pytest.raises(AssertionError):
            source.training_windows(np.array([0, index]), 10)
    evaluated = source.evaluation_windows(3, 10)
    assert np.array_equal(evaluated, source.windows(EVALUATION + np.arange(3), 10))


@each
def test_fields_decide_the_identity(name: str) -> None:
    assert corpus(name).identity() == corpus(name).identity() != corpus(name, seed=1).identity()
    with pytest.raises(ValidationError):
        corpus(name, seed=2**32)


def monte_carlo(name: str, windows: int, context: int) -> None:
    """Compare the entropy with what windows cost the predictor that knows the law, over 24 seeds."""
    gaps = []
    for seed in SEEDS:
        source = corpus(name, seed=seed)
        cost = source.nats(source.evaluation_windows(windows, context))
        assert cost.shape == (windows, context) and (cost > -1e-12).all()
        gaps.append(cost.mean() - source.entropy(context))
    error = np.std(gaps, ddof=1) / len(gaps) ** 0.5
    assert error < 0.02 * source.entropy(context)
    assert abs(np.mean(gaps)) < 3 * error


@each
def test_entropy_is_what_windows_cost(name: str) -> None:
    monte_carlo(name, windows=48, context=40)


@pytest.mark.slow
@each
@pytest.mark.parametrize("context", [1, 63, 256])
def test_entropy_is_what_many_windows_cost(name: str, context: int) -> None:
    monte_carlo(name, windows=3000, context=context)


@each
def test_entropy_of_long_contexts_nears_the_rate(name: str) -> None:
    source = corpus(name)
    assert source.entropy(20_000) == pytest.approx(source.entropy(), rel=2e-4)


@pytest.mark.slow
@each
def test_windows_are_made_faster_than_any_model_trains(name: str) -> None:
    """The smallest models of the reference studies train on 640,000 tokens a CPU second at most."""
    source = corpus(name)
    source.windows(np.arange(1000), 64)
    began = time.process_time()
    for i in range(20):
        source.windows(np.arange(1000 * i, 1000 * (i + 1)), 64)
    assert 20 * 1000 * 64 / (time.process_time() - began) > 6.4e6
