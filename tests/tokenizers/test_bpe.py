from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from scaling.errors import UserError
from scaling.tokenizers.bpe import SEPARATOR, Bpe
from tests.tokenizers.conftest import DOCUMENTS


def test_a_trained_tokenizer_cuts_any_text(bpe_file: Path) -> None:
    coder = Bpe(vocab_size=280).open(bpe_file)
    facts = coder.facts
    assert (facts.name, facts.vocab_size, facts.separator, facts.dtype) == ("bpe-280", 280, 0, "uint16")
    assert facts.sha256 is not None and len(facts.sha256) == 64
    unseen = "Ωmega: ŝtrange ☃ text"
    (tokens,) = coder.encode([unseen.encode()])
    assert coder.decode(tokens) == unseen
    (known,) = coder.encode([b"the cat was that"])
    assert len(known) < 9, "frequent words are no shorter than their bytes"


def test_a_separator_written_out_is_text(bpe_file: Path) -> None:
    coder = Bpe(vocab_size=280).open(bpe_file)
    (tokens,) = coder.encode([SEPARATOR.encode()])
    assert 0 not in tokens and coder.decode(tokens) == SEPARATOR


TRAIN = """
import sys
from pathlib import Path
from scaling.tokenizers.bpe import Bpe
documents = [text.encode() for text in {texts!r}]
print(Bpe(vocab_size=280).prepared(Path(), Path(sys.argv[1]), "corpus", lambda: documents))
"""


def test_training_in_two_processes_gives_the_same_bytes(tmp_path: Path, bpe_file: Path) -> None:
    program = TRAIN.format(texts=[document.decode() for document in DOCUMENTS])
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / str(i))],
            env={
                **os.environ,
                "PYTHONHASHSEED": str(i),
                "TOKENIZERS_PARALLELISM": str(bool(i)).lower(),
                "RAYON_NUM_THREADS": "4",
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    trained = [Path(process.communicate()[0].strip()).read_bytes() for process in running]
    assert trained == [bpe_file.read_bytes()] * 2


def test_two_that_ask_at_once_train_once(tmp_path: Path) -> None:
    trainings: list[int] = []
    begun, both = threading.Event(), threading.Event()

    def texts() -> Iterator[bytes]:
        trainings.append(1)
        begun.set()
        both.wait(10)
        yield from DOCUMENTS

    def ask() -> None:
        files.append(Bpe(vocab_size=270).prepared(tmp_path, tmp_path, "corpus", texts))

    files: list[Path] = []
    threads = [threading.Thread(target=ask) for _ in range(2)]
    threads[0].start()
    assert begun.wait(10)
    threads[1].start()
    threads[1].join(0.1)
    both.set()
    for thread in threads:
        thread.join(10)
    assert len(trainings) == 1 and files[0] == files[1]


def test_the_cache_knows_corpus_and_fields(tmp_path: Path) -> None:
    def prepared(corpus: str, **fields: int) -> Path:
        return Bpe(**{"vocab_size": 260} | fields).prepared(tmp_path, tmp_path, corpus, lambda: DOCUMENTS)

    assert prepared("a") == prepared("a")
    assert prepared("a").parent == tmp_path / "tokenizers"
    assert len({prepared("a"), prepared("b"), prepared("a", vocab_size=261), prepared("a", sample=300)}) == 4


def test_it_is_trained_on_the_first_bytes_of_the_text(tmp_path: Path) -> None:
    def merges(sample: int, *texts: str) -> list[list[str]]:
        documents = [text.encode() for text in texts]
        bpe = Bpe(vocab_size=258, sample=sample)
        file = bpe.prepared(tmp_path, tmp_path, f"{texts}", lambda: documents)
        return json.loads(file.read_text("utf-8"))["model"]["merges"]

    assert merges(1000, "aaab" * 3, "xyxyxyxy" * 9) == [["x", "y"]]
    assert merges(12, "aaab" * 3, "xyxyxyxy" * 9) == [["a", "a"]]
    assert merges(5, "aa aa" + "xy" * 9, "xyxyxyxy" * 9) == [["a", "a"]]
    assert merges(5, "aa", "aa", "é") == [["a", "a"]], "half a character is no text"


def test_a_corpus_too_small_says_how_far_it_goes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="gives only 258 tokens, not 4096") as raised:
        Bpe(vocab_size=4096).prepared(tmp_path, tmp_path, "corpus", lambda: [b"abab"])
    (problem,) = raised.value.problems
    assert problem.where == "data.tokenizer.vocab_size" and "258" in problem.hint
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("vocab_size", [1, 256, 2**30, True])
def test_a_vocabulary_that_cannot_be_is_refused(vocab_size: int) -> None:
    with pytest.raises(ValidationError) as raised:
        Bpe(vocab_size=vocab_size)
    if vocab_size in (1, 256) and vocab_size is not True:
        assert "every byte and the separator" in str(raised.value)
