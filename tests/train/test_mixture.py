"""A mixture of corpora from files to a record: which text is trained on, its order, and its counts."""

import itertools
import random
from pathlib import Path

import numpy as np
import pytest

from scaling.corpora.jsonl import Jsonl
from scaling.corpora.mixture import Mixture, MixtureSource
from scaling.data.store import open_windows
from scaling.recipe.schedules import WSD
from scaling.run import run_id
from tests.data.made_up import index_for
from tests.train.jobs import results_of, train
from tests.train.runs import TINY, make_run

ALPHABETS = {"first": b"abcdefgh", "second": b"ijklmnop", "small": b"qrstuvwx"}
WEIGHTS = {"first": 2.0, "second": 1.0, "small": 1.0}
QUOTAS = (2048, 1024, 1024)
EVALUATION = dict(split="hash", documents=4, tokens=2000)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Jsonl]:
    """Each source has letters of its own; the small one is repeated soon."""
    folder = tmp_path_factory.mktemp("sources")
    corpora = dict[str, Jsonl]()
    for name, letters in ALPHABETS.items():
        generator = random.Random(name)
        texts = [
            "".join(map(chr, generator.choices(letters, k=1500))) for _ in range(8 if name == "small" else 40)
        ]
        path = folder / f"{name}.jsonl"
        path.write_text("".join(f'{{"text": "{text}"}}\n' for text in texts))
        corpora[name] = Jsonl(files=(str(path),))
    return corpora


def mixture(sources: dict[str, Jsonl], unique_tokens: int | None = None):
    named = {name: MixtureSource(corpus=sources[name], weight=WEIGHTS[name]) for name in sources}
    return index_for(Mixture(kind="mixture", sources=named), TINY.context, None, unique_tokens, **EVALUATION)


def source_of(windows: np.ndarray) -> np.ndarray:
    """Return the number of the only source whose letters are in each window."""
    has = np.stack([np.isin(windows, list(letters)).any(axis=1) for letters in ALPHABETS.values()])
    assert (has.sum(axis=0) == 1).all()
    return has.argmax(axis=0)


def test_each_source_has_its_share_in_its_own_order(sources: dict[str, Jsonl]) -> None:
    index = mixture(sources)
    data, steps = open_windows(index), 2 * 4096
    windows = data.train_batches(3, 0, steps, 1)[:, 0]
    source = source_of(windows)
    assert np.bincount(source[:4096]).tolist() == list(QUOTAS)
    assert data.seen(3, 5000) == dict(zip(sources, np.bincount(source[:5000]).tolist(), strict=True))
    for number, corpus in enumerate(sources.values()):
        own = windows[source == number]
        share = {"documents": 4 * QUOTAS[number] // 4096, "tokens": -(-2000 * QUOTAS[number] // 4096)}
        alone = open_windows(index_for(corpus, TINY.context, **EVALUATION | share))
        assert (own == alone.train_batches(3, 0, len(own), 1)[:, 0]).all()
    assert data.seen(3, 4096)["small"] > 2 * index.sources[2].used, "it was repeated"


def test_less_unique_text_is_contained_in_more(sources: dict[str, Jsonl]) -> None:
    def trained_on(unique_tokens: int | None) -> set[bytes]:
        data = open_windows(mixture(sources, unique_tokens))
        return {window.tobytes() for window in data.train_batches(0, 0, 3 * 4096, 1)[:, 0]}

    sets = [trained_on(tokens) for tokens in (2_000, 6_000, 16_000, None)]
    for smaller, larger in itertools.pairwise(sets):
        assert smaller < larger
    assert len(sets[0]) == 31 + 15 + 15  # of 2,000 tokens a half and two quarters, in windows of 32


def test_a_run_is_recorded_and_resumed(sources: dict[str, Jsonl], program, tmp_path: Path) -> None:
    index = mixture(sources)
    schedule = WSD(kind="wsd", warmup=10, decay=20)
    run = make_run(steps=61, schedule=schedule, fingerprint=index.fingerprint, batch_sequences=2)
    run = run.model_copy(update={"order": 5})
    train(tmp_path / "whole", [run], index, program)
    result = results_of(tmp_path / "whole", [run])[run_id(run)]
    assert result["status"] == "ok" and result["loss"] < 4
    seen, other = (open_windows(index).seen(seed, 122) for seed in (5, run.seed))
    assert seen != other
    assert result["source_tokens"] == {name: 32 * windows for name, windows in seen.items()}
    assert sum(result["source_tokens"].values()) == run.tokens
    epochs = {source.name: seen[source.name] / source.used for source in index.sources}
    assert result["source_epochs"] == epochs
    for _ in range(2):
        train(tmp_path / "stopped", [run], index, program, stop_after=3)
    assert not list(tmp_path.glob("stopped/runs/*/record.json"))
    assert train(tmp_path / "stopped", [run], index, program).resumed == 1
    assert results_of(tmp_path / "stopped", [run])[run_id(run)] == result
