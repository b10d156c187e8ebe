from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from scaling.errors import UserError
from scaling.tokenizers.file import TokenizerFile
from tests.tokenizers.conftest import DOCUMENTS, TEXTS


def opened(file: Path, separator: str = "auto"):
    tokenizer = TokenizerFile(path=file.name, separator=separator)
    return tokenizer.open(tokenizer.prepared(file.parent, Path("unused"), "unused", lambda: []))


def test_nothing_is_added_to_a_text_and_nothing_cut_off(files: dict[str, Path]) -> None:
    coder = opened(files["gpt2"])
    for text, tokens in zip(TEXTS, coder.encode(DOCUMENTS), strict=True):
        assert coder.decode(tokens) == text
        assert coder.facts.separator not in tokens


def test_facts(files: dict[str, Path]) -> None:
    facts = opened(files["gpt2"]).facts
    digest = hashlib.sha256(files["gpt2"].read_bytes()).hexdigest()
    assert facts.name == f"gpt2-{digest[:6]}" and facts.sha256 == digest
    assert (facts.vocab_size, facts.dtype, facts.separator) == (281, "uint16", 0), "an added token counts"
    assert opened(files["bert"], separator="none").facts.dtype == "uint8"


def test_the_separator_is_found_or_asked_for(files: dict[str, Path]) -> None:
    assert opened(files["llama"]).facts.separator == 2
    assert opened(files["composed"], separator="<eos>").facts.separator == 1
    assert opened(files["composed"], separator="none").facts.separator is None
    cases = [
        ("composed", "auto", "several tokens", "'<eos>', '</s>', or none"),
        ("bert", "auto", "no token", "'[UNK]', '[CLS]', or none"),
        ("gpt2", "</s>", "has no token '</s>'", "'<|endoftext|>', '<|pad|>', or none"),
    ]
    for name, separator, message, hint in cases:
        with pytest.raises(UserError, match=message) as raised:
            opened(files[name], separator=separator)
        (problem,) = raised.value.problems
        assert problem.where == "data.tokenizer.separator" and problem.hint == f"set separator: {hint}"


def test_text_that_holds_the_separator_is_refused(files: dict[str, Path]) -> None:
    coder = opened(files["bert"], separator="hatter")  # an added token that is no special one
    with pytest.raises(UserError, match="the text holds 'hatter'"):
        coder.encode([b"mad as a hatter"])


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file") as raised:
        TokenizerFile(path="missing.json").prepared(tmp_path, tmp_path, "", lambda: [])
    assert raised.value.problems[0].where == "data.tokenizer.path"
    for content in (b"{}", b"\xff", b"not JSON"):
        (tmp_path / "wrong.json").write_bytes(content)
        with pytest.raises(UserError, match=r"wrong\.json is not a tokenizer") as raised:
            TokenizerFile(path="wrong.json").open(tmp_path / "wrong.json")
        assert raised.value.problems[0].where == "data.tokenizer.path"
