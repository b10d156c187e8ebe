"""`scaling data`: a corpus of the user's own is prepared, inspected and verified."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.call import call
from tests.data.fakes import words

SPEC = """
study: own
data: {corpus: {kind: text, files: notes/*.txt}, context: 16}
evaluation: {documents: 4, tokens: 500}
family: {kind: width-dial, depth: 2, widths: [16, 24, 32], head_dim: 8}
recipe:
  optimizer: {kind: adamw, learning_rate: 0.01}
  schedule: {kind: wsd, warmup: 10 steps, decay: 20 %, shape: 1-sqrt}
  batch_tokens: 256
design: {kind: isoflop, budgets: [1e9]}
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A spec on sixty files, two of them copies, and an empty cache."""
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path / "cache"))
    (tmp_path / "notes").mkdir()
    for i in range(60):
        (tmp_path / "notes" / f"{i:02d}.txt").write_bytes(words(i % 58, 40))
    path = tmp_path / "own.yaml"
    path.write_text(SPEC)
    return path


def answer(*arguments: object, code: int = 0) -> dict[str, object]:
    done = call(*arguments, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def test_a_corpus_is_prepared_inspected_and_verified(spec: Path) -> None:
    done = call("data", "prepare", spec)
    assert done.returncode == 0, done.stderr
    assert "text: 60 documents" in done.stdout and "bytes, a vocabulary of 256" in done.stdout
    assert "surveying" in done.stderr and "tokenising" in done.stderr
    assert done.stdout.endswith(f"\nnext: scaling data inspect {spec}\n")
    assert "surveying" not in call("data", "prepare", spec).stderr
    done = call("data", "inspect", spec)
    assert done.returncode == 0, done.stderr
    for part in ("lengths", "Latin", "0 of", "scored windows occur verbatim", "the first windows"):
        assert part in done.stdout
    done = call("data", "verify", spec)
    assert (done.returncode, done.stdout.count(": whole\n")) == (0, 1)


def test_json_of_each_command(spec: Path) -> None:
    prepared = answer("data", "prepare", spec)
    [store] = prepared["stores"]
    found = answer("data", "inspect", spec)
    [report] = found["stores"]
    assert report["index"]["fingerprint"] == store["fingerprint"] == prepared["fingerprint"]
    assert 0 < report["documents_repeated"]["share"] < 0.05
    assert len(found["windows"]) == 4 and isinstance(found["windows"][0][0], str)
    assert found["copied"] <= found["whole"]
    for target in (store["folder"], store["fingerprint"]):
        own = answer("data", "inspect", target)
        assert own["stores"] == [report] and own["copied"] is None
        assert answer("data", "verify", target)["whole"] is True


def test_a_damaged_store_is_found(spec: Path) -> None:
    [store] = answer("data", "prepare", spec)["stores"]
    shard = Path(store["folder"]) / "train-00000.tokens"
    shard.write_bytes(b"x" + shard.read_bytes()[1:])
    done = call("data", "verify", spec)
    assert done.returncode == 1 and str(shard) in done.stdout and "next:" not in done.stdout
    shard.write_bytes(shard.read_bytes()[:100])
    report = answer("data", "verify", spec, code=1)
    assert report["whole"] is False and report["stores"][0]["problems"][0]["where"] == str(shard)


@pytest.mark.parametrize("command", ["prepare", "inspect", "verify"])
def test_what_is_no_corpus_is_refused(spec: Path, command: str) -> None:
    done = call("data", command, spec, "--set", "data.corpus.files=none/*.txt")
    assert done.returncode == 2 and "own.yaml" in done.stderr and "none/*.txt" in done.stderr


def test_what_is_not_prepared_is_refused(spec: Path, tmp_path: Path) -> None:
    done = call("data", "verify", spec)
    assert done.returncode == 2 and "scaling data prepare" in done.stderr
    for command in ("inspect", "verify"):
        done = call("data", command, "0123456789ab")
        assert done.returncode == 2 and "no prepared store 0123456789ab" in done.stderr
    done = call("data", "inspect", tmp_path)
    assert done.returncode == 2 and "SCALING_CACHE" in done.stderr


def test_control_characters_of_a_corpus_do_not_reach_the_terminal(spec: Path) -> None:
    for path in (spec.parent / "notes").glob("*.txt"):
        path.write_bytes(b"\x1b[31mred \x07" * 20 + path.read_bytes())
    done = call("data", "inspect", spec)
    assert done.returncode == 0 and "[31mred" in done.stdout
    assert not {"\x1b", "\x07"} & {*done.stdout}


def test_a_source_that_generates_tokens_has_nothing_to_prepare(spec: Path) -> None:
    spec.write_text(
        SPEC.replace("{kind: text, files: notes/*.txt}", "{kind: santa-fe}").replace("documents: 4, ", "")
    )
    assert "nothing to prepare" in call("data", "prepare", spec).stdout
    done = call("data", "inspect", spec)
    assert done.returncode == 0 and "entropy rate" in done.stdout, done.stderr
    assert answer("data", "verify", spec)["stores"] == []
    assert "nothing to verify" in call("data", "verify", spec).stdout


def test_what_is_not_fetched_is_refused_before_it_is(spec: Path) -> None:
    (spec.parent / "pages").mkdir()
    (spec.parent / "pages" / "train.jsonl").write_text('{"text": "a text"}\n')
    spec.write_text(SPEC.replace("{kind: text, files: notes/*.txt}", "{kind: hf, path: pages}"))
    for command in (("data", "verify"), ("data", "inspect"), ("plan",)):
        done = call(*command, spec)
        assert done.returncode == 2 and "run `scaling data prepare SPEC` first" in done.stderr, done.stderr
    assert not list(spec.parent.rglob("*.parquet"))
