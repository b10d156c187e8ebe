from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings

from scaling.errors import UserError
from scaling.tokenizers.sentencepiece import SentencePiece
from tests.tokenizers.conftest import TEXTS
from tests.tokenizers.test_library import UNICODE

sentencepiece = pytest.importorskip("sentencepiece")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    options = {"whole": {"byte_fallback": True}, "endless": {"eos_id": -1}}
    for name, more in options.items():
        written = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([line for text in TEXTS for line in text.splitlines()]),
            model_writer=written,
            vocab_size=320,
            hard_vocab_limit=False,
            user_defined_symbols=["<sep>"],
            minloglevel=2,
            **more,
        )
        (folder / f"{name}.model").write_bytes(written.getvalue())
    return {name: folder / f"{name}.model" for name in options}


def opened(file: Path, separator: str = "auto"):
    tokenizer = SentencePiece(path=file.name, separator=separator)
    return tokenizer.open(tokenizer.prepared(file.parent, Path("unused"), "unused", lambda: []))


def test_facts(models: dict[str, Path]) -> None:
    facts = opened(models["whole"]).facts
    assert facts.name.startswith("whole-") and facts.separator == 2 and facts.dtype == "uint16"
    assert opened(models["whole"], "none").facts.separator is None
    assert opened(models["whole"], "<sep>").facts.separator == 3


@settings(max_examples=40, deadline=None)
@given(text=UNICODE)
def test_bytes_of_tokens_sum_to_the_text(models: dict[str, Path], text: str) -> None:
    coder, content = opened(models["whole"]), text.encode()
    tokens, counts = coder.encode_with_bytes(content)
    assert counts.sum() == (len(content) if len(tokens) else 0)
    assert np.array_equal(tokens, coder.encode([content])[0])


def test_a_character_cut_into_bytes_has_a_byte_a_token(models: dict[str, Path]) -> None:
    coder = opened(models["whole"])
    tokens, counts = coder.encode_with_bytes("the ☃".encode())
    assert counts[-3:].tolist() == [1, 1, 1] and coder.decode(tokens) == "the ☃"


def test_the_separator(models: dict[str, Path]) -> None:
    for model, separator, message in (
        ("endless", "auto", "no piece that ends a text"),
        ("whole", "<eot>", "has no piece '<eot>'"),
    ):
        with pytest.raises(UserError, match=message) as raised:
            opened(models[model], separator)
        (problem,) = raised.value.problems
        assert problem.where == "data.tokenizer.separator" and "'<s>'" in problem.hint
    (tokens,) = opened(models["whole"]).encode([b"</s>"])
    assert 2 not in tokens, "a separator written out is text"
    with pytest.raises(UserError, match="the text holds '<sep>'"):
        opened(models["whole"], "<sep>").encode([b"a<sep>b"])


def test_a_file_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wrong.model").write_bytes(b"not a model")
    with pytest.raises(UserError, match="not a model of sentencepiece") as raised:
        opened(tmp_path / "wrong.model")
    assert raised.value.problems[0].where == "data.tokenizer.path"
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(UserError, match="needs the extra 'sentencepiece'"):
        opened(tmp_path / "wrong.model")
