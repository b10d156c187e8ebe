import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from threading import Barrier

import pytest

from scaling.data import index as index_module
from scaling.data.build import build_store
from scaling.data.catalog import CORPORA, TOKENIZERS, Corpus, read_documents
from scaling.data.index import coverage, resolve
from scaling.data.store import open_store
from scaling.errors import UserError
from scaling.files import cache_dir
from tests.data.made_up import noise, ship

REAL = ("state-of-the-union", "bytes", 64, 24, 131072)
# The store of the shipped corpus. If it has to change, raise scaling.data.index.FORMAT (ids change, say so in
# CHANGELOG.md) and copy the new values from the .json beside the store.
FINGERPRINT, EVAL_ID = "47c9264346d3", "fc78840ff21c"
TOKENS_SHA256 = "f9bb13242744d89a405aaec9912c3cb1c81b13c2c05b00950ad4eec28aada465"
HELD_OUT_YEARS = [
    *(1795, 1804, 1814, 1824, 1833, 1843, 1853, 1862, 1873, 1881, 1892, 1901),
    *(1909, 1921, 1930, 1939, 1948, 1958, 1968, 1978, 1987, 1997, 2007, 2016),
]


def test_store_of_the_shipped_corpus_is_golden(tmp_path: Path) -> None:
    build_store(tmp_path / "fresh", CORPORA["state-of-the-union"], TOKENIZERS["bytes"], 24)
    facts = json.loads((tmp_path / "fresh.json").read_text())
    assert facts["tokens_sha256"] == TOKENS_SHA256
    assert [d["year"] for d in facts["eval_documents"]] == HELD_OUT_YEARS
    assert facts["overlap"] == {"window_bytes": 128, "windows_checked": 978275}
    assert facts["train_tokens"] + sum(d["tokens"] + 1 for d in facts["eval_documents"]) == 10_761_413 + 233


def test_index_of_the_shipped_corpus() -> None:
    index = resolve(*REAL)
    assert (index.fingerprint, index.eval_id) == (FINGERPRINT, EVAL_ID)
    assert (index.train_tokens, index.train_windows) == (9_780_299, 152_817)
    assert index.eval_tokens_used == 131_072 and index.bytes_per_token == 1.0
    assert [d.year for d in index.eval_documents] == HELD_OUT_YEARS
    assert {d.tokens_used for d in index.eval_documents} == {85 * 64, 86 * 64}
    assert open_store(index).tokens.shape == (index.tokens,)


def test_an_archive_that_is_not_ours_is_refused(tiny: Corpus, tmp_path: Path) -> None:
    (tmp_path / "tiny.jsonl.xz").write_bytes((tmp_path / "tiny.jsonl.xz").read_bytes()[:-1] + b"?")
    with pytest.raises(RuntimeError, match="damaged"):
        read_documents(tiny)


def test_ids_cover_what_they_should(tiny: Corpus) -> None:
    base = resolve("tiny", "bytes", 16, 3, 200)
    tokens = resolve("tiny", "bytes", 16, 3, 201)
    context = resolve("tiny", "bytes", 17, 3, 200)
    split = resolve("tiny", "bytes", 16, 4, 200)
    assert base.fingerprint == tokens.fingerprint == context.fingerprint != split.fingerprint
    assert len({i.eval_id for i in (base, tokens, context, split)}) == 4


def test_coverage(tiny: Corpus) -> None:
    index = resolve("tiny", "bytes", 16, 3, 200)
    epoch = index.train_windows * 16
    assert coverage(64, index) == (64, 64 / epoch)
    assert coverage(3 * epoch, index) == (epoch, 3.0)


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(UserError) as caught:
        resolve("state-of-the-onion", "byte", 64, 24, 1000)
    text = [str(problem) for problem in caught.value.problems]
    assert [t.split(":")[0] for t in text] == ["data.corpus", "data.tokenizer"]
    assert "did you mean 'state-of-the-union'?" in text[0] and "did you mean 'bytes'?" in text[1]


@pytest.mark.parametrize(
    ("context", "documents", "tokens", "message"),
    [
        (16, 3, 10**9, "eval_tokens = 1000000000: the 3 held-out documents have"),
        (16, 12, 100, "eval_documents = 12: at most 11 of the 12 documents can be held out"),
        (10**6, 3, 100, "context = 1000000: the training text has"),
    ],
)
def test_sizes_out_of_range(tiny: Corpus, context: int, documents: int, tokens: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        resolve("tiny", "bytes", context, documents, tokens)


def test_separator_inside_a_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = ship(tmp_path, [noise(0, 300), noise(1, 300) + b"\0", noise(2, 300)], monkeypatch)
    with pytest.raises(RuntimeError, match="d1: separator token 0 occurs"):
        build_store(tmp_path / "x", corpus, TOKENIZERS["bytes"], 1)


@pytest.mark.parametrize("damage", ["truncate", "flip", "no facts", "torn facts", "no tokens"])
def test_a_damaged_store_is_built_again(tiny: Corpus, damage: str) -> None:
    index = resolve("tiny", "bytes", 16, 3, 200)
    sound, facts = index.path.read_bytes(), index.path.with_suffix(".json")
    match damage:
        case "truncate":
            index.path.write_bytes(sound[:-1])
        case "flip":
            index.path.write_bytes(bytes([sound[0] ^ 1]) + sound[1:])
        case "no tokens":
            index.path.unlink()
        case "no facts":
            facts.unlink()
        case _:
            facts.write_bytes(facts.read_bytes()[:-20])
    assert resolve("tiny", "bytes", 16, 3, 200) == index
    assert index.path.read_bytes() == sound


def test_many_may_build_at_once(tiny: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "lock", lambda path, seconds: nullcontext())
    barrier = Barrier(8)

    def start() -> object:
        barrier.wait()
        return resolve("tiny", "bytes", 16, 3, 200)

    with ThreadPoolExecutor(8) as pool:
        answers = [task.result() for task in [pool.submit(start) for _ in range(8)]]
    assert all(answer == answers[0] for answer in answers)
    assert sorted(p.suffix for p in (cache_dir() / "data").iterdir()) == [".json", ".tokens"]


def test_unwritable_cache_names_the_variable(
    tiny: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="set SCALING_CACHE to a folder that you can write"):
        resolve("tiny", "bytes", 16, 3, 200)


def test_cache_dir(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/h")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.setenv("SCALING_CACHE", "here")
    assert cache_dir() == Path.cwd() / "here"
    monkeypatch.setenv("SCALING_CACHE", "")
    assert cache_dir() == Path("/x/scaling-laws")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_dir() == Path("/h/.cache/scaling-laws")


def test_a_warm_index_needs_no_numpy() -> None:
    resolve(*REAL)
    program = (
        f"import sys; from scaling.data.index import resolve; resolve(*{REAL}); "
        "print([m for m in ('numpy', 'jax', 'pandas') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"
