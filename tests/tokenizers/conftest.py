"""A little text, and tokenizers of many makes for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from scaling.tokenizers.bpe import Bpe

TEXTS = [
    "The cat sat on the mat; the other cat's hat was on the mat, too.\n\nWhat was that?\n",
    "A naïve café — “quoted”, 日本語のテキスト 🙂🙂 and 12,345 numbers.\r\n\tTabs  and   spaces ",
    "the the the the cat cat cat was was that that mat\n" * 5,
]
DOCUMENTS = [text.encode() for text in TEXTS]


@pytest.fixture(scope="session")
def bpe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bpe")
    return Bpe(vocab_size=280).prepared(folder, folder, "corpus", lambda: DOCUMENTS)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory, bpe_file: Path) -> dict[str, Path]:
    """``tokenizer.json`` of four makes: two of bytes, one that falls back to bytes, one that loses text."""
    folder = tmp_path_factory.mktemp("files")
    made = {"gpt2": _gpt2(bpe_file), "composed": _composed(), "llama": _llama(), "bert": _bert()}
    for name, tokenizer in made.items():
        tokenizer.save(str(folder / f"{name}.json"))
    return {name: folder / f"{name}.json" for name in made}


def _gpt2(bpe_file: Path) -> Tokenizer:
    """As people publish them: it cuts texts short, fills them up and puts a token before each."""
    tokenizer = Tokenizer.from_file(str(bpe_file))
    tokenizer.add_special_tokens(["<|pad|>"])
    tokenizer.enable_truncation(8)
    tokenizer.enable_padding(length=64, pad_token="<|pad|>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    return tokenizer


def _composed() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["</s>", "<eos>"],
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def _llama() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence([decoders.Metaspace(), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(
        vocab_size=310, special_tokens=special, limit_alphabet=30, show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def _bert() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(
        vocab_size=100, special_tokens=["[UNK]", "[CLS]"], show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_tokens([AddedToken("hatter", normalized=False)])
    return tokenizer
