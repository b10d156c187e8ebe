import itertools

import numpy as np
import pytest

from scaling.data.catalog import CORPORA, Corpus, read_documents
from scaling.data.index import resolve
from scaling.data.order import windows_at
from scaling.data.store import TokenStore, open_store

CONTEXT = 48


@pytest.fixture
def store(tiny: Corpus) -> TokenStore:
    return open_store(resolve("tiny", "bytes", CONTEXT, 3, 500))


def split(store: TokenStore) -> tuple[bytes, list[bytes]]:
    names = [d.name for d in store.index.eval_documents]
    documents = read_documents(CORPORA["tiny"])
    train = b"".join(b"\0" + d.text for d in documents if d.name not in names)
    return train, [d.text for d in documents if d.name in names]


def test_training_batches_are_windows_of_training_text_only(store: TokenStore) -> None:
    train, _ = split(store)
    index = store.index
    assert index.train_tokens == len(train) and index.train_windows == (len(train) - 1) // CONTEXT
    batches = store.train_batches(3, 2, 40, 5)
    assert batches.shape == (40, 5, CONTEXT + 1) and batches.dtype == np.int32
    expected = windows_at(3, 10, 200, index.train_windows)
    for batch, window in zip(batches.reshape(200, -1), expected, strict=True):
        assert bytes(batch.tolist()) == train[window * CONTEXT : window * CONTEXT + CONTEXT + 1]


def test_the_last_training_window_ends_within_training_text(tiny: Corpus) -> None:
    exact = 0
    for documents, context in itertools.product(range(1, 5), range(16, 120)):
        index = resolve("tiny", "bytes", context, documents, 100)
        last = index.train_windows * context + 1
        assert last <= index.train_tokens < last + context
        exact += index.train_tokens % context == 0
    assert exact, "no case where a window more would end one token too late"


def test_a_batch_is_a_function_of_seed_and_step(store: TokenStore) -> None:
    many = store.train_batches(1, 0, 12, 4)
    for step in (0, 5, 11):
        assert (store.train_batches(1, step, 1, 4)[0] == many[step]).all()
    assert (many.reshape(6, 8, -1) == store.train_batches(1, 0, 6, 8)).all()
    assert (many != store.train_batches(2, 0, 12, 4)).any()


def test_evaluation_predicts_text_of_each_document_once(store: TokenStore) -> None:
    _, texts = split(store)
    windows, weights, document = store.eval_windows()
    assert windows.dtype == np.int32 and weights.dtype == np.float32
    assert weights.shape == (len(windows), CONTEXT) and document.shape == (len(windows),)
    assert weights.sum() == store.index.eval_tokens_used >= 500
    for position, (text, facts) in enumerate(zip(texts, store.index.eval_documents, strict=True)):
        own = document == position
        assert own.sum() == facts.windows_used and weights[own].sum() == facts.tokens_used
        assert windows[own][0, 0] == 0 and (windows[own][1:, 0] > 0).all()
        assert facts.bytes == facts.tokens == len(text)
        seen = [
            bytes(w[1:][k > 0].astype(np.uint8).tolist())
            for w, k in zip(windows[own], weights[own], strict=True)
        ]
        places = [text.index(s) for s in seen]
        assert all(place % CONTEXT == 0 for place in places) and len(set(places)) == len(places)


def test_padding_has_no_weight_and_everything_can_be_evaluated(tiny: Corpus) -> None:
    every = resolve("tiny", "bytes", CONTEXT, 3, 1).eval_documents
    total = sum(d.tokens for d in every)
    store = open_store(resolve("tiny", "bytes", CONTEXT, 3, total))
    windows, weights, _ = store.eval_windows()
    assert weights.sum() == total == store.index.eval_tokens_used
    assert ((windows[:, 1:] == 0) == (weights == 0)).all() and (weights == 0).any()
    long = open_store(resolve("tiny", "bytes", 2000, 3, total))
    windows, weights, document = long.eval_windows()
    assert document.tolist() == [0, 1, 2] and weights.sum(axis=1).tolist() == [d.tokens for d in every]


def test_a_changed_file_is_refused(store: TokenStore) -> None:
    with open(store.index.path, "ab") as file:
        file.write(b"x")
    with pytest.raises(RuntimeError, match="changed since"):
        open_store(store.index)
