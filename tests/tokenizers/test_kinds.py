from __future__ import annotations

from typing import get_args

import pytest
from pydantic import TypeAdapter, ValidationError

from scaling.tokenizers.base import dtype_of
from scaling.tokenizers.kinds import TOKENIZERS, AnyTokenizer, Bpe, Bytes, WrittenTokenizer

WRITTEN: TypeAdapter = TypeAdapter(WrittenTokenizer)


def test_a_name_alone_is_a_kind() -> None:
    assert WRITTEN.validate_python("bytes") == WRITTEN.validate_python({"kind": "bytes"}) == Bytes()
    assert WRITTEN.validate_python({"kind": "bpe", "vocab_size": 1e3}) == Bpe(vocab_size=1000)
    assert WRITTEN.validate_python(Bytes()) == Bytes()


@pytest.mark.parametrize(
    ("written", "kind"), [("bpe", "missing"), ("gpt2", "union_tag_invalid"), (3, "model_attributes_type")]
)
def test_what_is_no_tokenizer(written: object, kind: str) -> None:
    with pytest.raises(ValidationError) as raised:
        WRITTEN.validate_python(written)
    assert raised.value.errors()[0]["type"] == kind


def test_every_tokenizer_has_its_kind_and_its_place_in_the_schema() -> None:
    assert {model.model_fields["kind"].default: model for model in get_args(AnyTokenizer)} == TOKENIZERS
    schema = WRITTEN.json_schema()
    assert {"const": "bytes", "type": "string"} in schema["anyOf"]
    assert set(schema["$defs"]) == {model.__name__ for model in TOKENIZERS.values()}


def test_the_least_type_that_holds_all_ids() -> None:
    assert [dtype_of(n) for n in (2, 256, 257, 65536, 65537)] == [
        "uint8",
        "uint8",
        "uint16",
        "uint16",
        "uint32",
    ]
