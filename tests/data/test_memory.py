"""Memory does not grow with the corpus."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.made_up import noise

PROGRAM = """
import sys
from pathlib import Path
from scaling.corpora.jsonl import Jsonl
from scaling.data.prepare import prepare
from scaling.data.request import Request
from scaling.tokenizers.bpe import Bpe

corpus, tokenizer = Jsonl(files=("*.jsonl",)), Bpe(vocab_size=500, sample=1_000_000)
request = Request(corpus=corpus, label="jsonl", tokenizer=tokenizer, folder=Path(sys.argv[1]))
facts = prepare(request)
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(facts.bytes, int(peak.split()[1]) * 1024)
"""


@pytest.mark.slow
def test_200_megabytes_are_prepared_in_less_memory_than_that(tmp_path: Path) -> None:
    words = [noise(seed, 2 + seed % 9).decode() for seed in range(5000)]
    text = [" ".join(words[i % 4000 : i % 4000 + 1000 : 1 + i % 3]) for i in range(4000)]
    with (tmp_path / "text.jsonl").open("w") as file:
        written = number = 0
        while written < 200_000_000:
            document = f"{number} {text[number * 7 % 4000]} {number}"
            file.write(json.dumps({"text": document}) + "\n")
            written, number = written + len(document), number + 1
    environment = os.environ | {"SCALING_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", PROGRAM, tmp_path]
    size, peak = map(int, subprocess.check_output(command, text=True, env=environment).split())
    assert size >= 200_000_000 and peak < 190_000_000
