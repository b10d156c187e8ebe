import subprocess
import sys
from pathlib import Path

import pytest

from scaling.corpora.jsonl import Jsonl
from scaling.data.index import coverage, index_of
from scaling.errors import UserError
from scaling.files import cache_dir
from tests.data.made_up import SHIPPED, index_for, shipped_index

# The store of the shipped corpus. If it has to change, raise scaling.data.request.FORMAT (ids change, say
# so in CHANGELOG.md) and copy the new values from the index.json of the store.
FINGERPRINT, EVAL_ID = "47c9264346d3", "fc78840ff21c"
HELD_OUT_YEARS = [
    *(1795, 1804, 1814, 1824, 1833, 1843, 1853, 1862, 1873, 1881, 1892, 1901),
    *(1909, 1921, 1930, 1939, 1948, 1958, 1968, 1978, 1987, 1997, 2007, 2016),
]


def test_index_of_the_shipped_corpus_is_golden() -> None:
    index = shipped_index(64)
    assert (index.fingerprint, index.eval_id) == (FINGERPRINT, EVAL_ID)
    [source] = index.sources
    assert source.facts is not None and (source.facts.train_tokens, source.windows) == (9_780_299, 152_817)
    assert index.eval_tokens_used == 131_072
    years = {d.name: d.position for part in SHIPPED.parts(Path()) for d in SHIPPED.read(part)}
    assert [years[d.name] for d in index.eval_documents] == HELD_OUT_YEARS
    assert {d.tokens_used for d in index.eval_documents} == {85 * 64, 86 * 64}


def test_ids_cover_what_they_should(tiny: Jsonl) -> None:
    base = index_for(tiny, 16, documents=3, tokens=200)
    tokens = index_for(tiny, 16, documents=3, tokens=201)
    context = index_for(tiny, 17, documents=3, tokens=200)
    split = index_for(tiny, 16, documents=4, tokens=200)
    assert base.fingerprint == tokens.fingerprint == context.fingerprint != split.fingerprint
    assert len({i.eval_id for i in (base, tokens, context, split)}) == 4


def test_coverage(tiny: Jsonl) -> None:
    index = index_for(tiny, 16, documents=3, tokens=200)
    epoch = index.train_windows * 16
    assert coverage(64, index) == (64, 64 / epoch)
    assert coverage(3 * epoch, index) == (epoch, 3.0)


@pytest.mark.parametrize(
    ("context", "documents", "tokens", "where", "message"),
    [
        (16, 3, 10**9, "evaluation.tokens", "tokens = 1000000000"),
        (
            16,
            12,
            100,
            "evaluation.documents",
            "documents = 12: at most 11 of the 12 documents can be held out",
        ),
        (10**6, 3, 100, "data.context", "context = 1000000: the training text has"),
    ],
)
def test_sizes_out_of_range(
    tiny: Jsonl, context: int, documents: int, tokens: int, where: str, message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        index_for(tiny, context, documents=documents, tokens=tokens)
    assert [problem.where for problem in caught.value.problems] == [where]


@pytest.mark.parametrize("damage", ["truncate", "no index", "torn index", "no tokens"])
def test_a_damaged_store_is_prepared_again(tiny: Jsonl, damage: str) -> None:
    index = index_for(tiny, 16, documents=3, tokens=200)
    facts = index.sources[0].facts
    assert facts is not None
    shard, described = facts.folder / facts.shards[0].name, facts.folder / "index.json"
    sound = shard.read_bytes()
    match damage:
        case "truncate":
            shard.write_bytes(sound[:-1])
        case "no tokens":
            shard.unlink()
        case "no index":
            described.unlink()
        case _:
            described.write_bytes(described.read_bytes()[:-20])
    assert index_for(tiny, 16, documents=3, tokens=200) == index
    assert shard.read_bytes() == sound


def test_a_job_without_its_store_says_so(
    tiny: Jsonl, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = index_for(tiny, 16, documents=3, tokens=200).content
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path / "elsewhere"))
    with pytest.raises(UserError, match="scaling data prepare"):
        index_of(content, 16)


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
    shipped_index(64)
    program = """if True:
        import sys
        from scaling.corpora.evaluation import Evaluation
        from scaling.corpora.shipped import Shipped
        from scaling.data.resolve import Wish, resolve
        from scaling.data.stores import Stores
        resolve(Wish(Shipped(name="state-of-the-union"), None, Evaluation()), 64, Stores())
        print([m for m in ("numpy", "jax", "pandas") if m in sys.modules])
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
