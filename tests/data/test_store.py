import itertools
from pathlib import Path

import numpy as np
import pytest

from scaling.corpora.jsonl import Jsonl
from scaling.data.index import DataIndex
from scaling.data.order import windows_at
from scaling.data.store import StoredWindows, open_windows
from scaling.errors import UserError
from tests.data.made_up import index_for

CONTEXT = 48


@pytest.fixture
def store(tiny: Jsonl) -> StoredWindows:
    return stored(index_for(tiny, CONTEXT, documents=3, tokens=500))


def stored(index: DataIndex) -> StoredWindows:
    windows = open_windows(index)
    assert isinstance(windows, StoredWindows)
    return windows


def split(store: StoredWindows, tiny: Jsonl) -> tuple[bytes, list[bytes]]:
    names = [d.name for d in store.index.eval_documents]
    documents = [(d.name, bytes(d.content)) for part in tiny.parts(Path()) for d in tiny.read(part)]
    train = b"".join(b"\0" + text for name, text in documents if name not in names)
    return train, [text for name, text in documents if name in names]


def test_training_batches_are_windows_of_training_text_only(store: StoredWindows, tiny: Jsonl) -> None:
    train, _ = split(store, tiny)
    index = store.index
    assert (
        index.sources[0].facts.train_tokens == len(train)
        and index.train_windows == (len(train) - 1) // CONTEXT
    )
    batches = store.train_batches(3, 2, 40, 5)
    assert batches.shape == (40, 5, CONTEXT + 1) and batches.dtype == np.int32
    expected = windows_at(3, 10, 200, index.train_windows)
    for batch, window in zip(batches.reshape(200, -1), expected, strict=True):
        assert bytes(batch.tolist()) == train[window * CONTEXT : window * CONTEXT + CONTEXT + 1]


def test_the_last_training_window_ends_within_training_text(tiny: Jsonl) -> None:
    exact = 0
    for documents, context in itertools.product(range(1, 5), range(16, 120)):
        index = index_for(tiny, context, documents=documents, tokens=100)
        last = index.train_windows * context + 1
        assert last <= index.sources[0].facts.train_tokens < last + context
        exact += index.sources[0].facts.train_tokens % context == 0
    assert exact, "no case where a window more would end one token too late"


def test_a_batch_is_a_function_of_seed_and_step(store: StoredWindows, tiny: Jsonl) -> None:
    many = store.train_batches(1, 0, 12, 4)
    for step in (0, 5, 11):
        assert (store.train_batches(1, step, 1, 4)[0] == many[step]).all()
    assert (many.reshape(6, 8, -1) == store.train_batches(1, 0, 6, 8)).all()
    assert (many != store.train_batches(2, 0, 12, 4)).any()


def test_evaluation_predicts_text_of_each_document_once(store: StoredWindows, tiny: Jsonl) -> None:
    _, texts = split(store, tiny)
    evaluated = store.eval_windows()
    windows, weights, document = evaluated.tokens, evaluated.weights, evaluated.document
    assert windows.dtype == np.int32 and weights.dtype == np.float32
    assert weights.shape == (len(windows), CONTEXT) and document.shape == (len(windows),)
    assert weights.sum() == store.index.eval_tokens_used >= 500
    for position, (text, facts) in enumerate(zip(texts, store.index.eval_documents, strict=True)):
        own = document == position
        assert own.sum() == facts.windows_used and weights[own].sum() == facts.tokens_used
        assert windows[own][0, 0] == 0 and (windows[own][1:, 0] > 0).all()
        assert facts.tokens == len(text)
        seen = [
            bytes(w[1:][k > 0].astype(np.uint8).tolist())
            for w, k in zip(windows[own], weights[own], strict=True)
        ]
        places = [text.index(s) for s in seen]
        assert all(place % CONTEXT == 0 for place in places) and len(set(places)) == len(places)


def test_padding_has_no_weight_and_everything_can_be_evaluated(tiny: Jsonl) -> None:
    every = index_for(tiny, CONTEXT, documents=3, tokens=1).eval_documents
    total = sum(d.tokens for d in every)
    store = stored(index_for(tiny, CONTEXT, documents=3, tokens=total))
    windows, weights = store.eval_windows().tokens, store.eval_windows().weights
    assert weights.sum() == total == store.index.eval_tokens_used
    assert ((windows[:, 1:] == 0) == (weights == 0)).all() and (weights == 0).any()
    long = stored(index_for(tiny, 2000, documents=3, tokens=total))
    weights, document = long.eval_windows().weights, long.eval_windows().document
    assert document.tolist() == [0, 1, 2] and weights.sum(axis=1).tolist() == [d.tokens for d in every]


def test_a_changed_file_is_refused(store: StoredWindows) -> None:
    facts = store.index.sources[0].facts
    assert facts is not None
    path = facts.folder / facts.shards[0].name
    sound = path.read_bytes()
    for damaged in (sound + b"x", bytes([sound[0] ^ 1]) + sound[1:]):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=facts.shards[0].name):
            open_windows(store.index)
