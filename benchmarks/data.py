"""Preparing and reading a corpus: CPU time, memory, and plans of many shards, each beside a peer or a limit.

    python benchmarks/data.py prepare          # 64 MB of text: bytes and BPE
    python benchmarks/data.py memory           # 1 GB of text, two processes
    python benchmarks/data.py plan             # stores of 100 and 10,000 shards
    python benchmarks/data.py read             # windows of 400 MB of tokens in eight shards

The text is made of the sentences of the shipped corpus in random order. ``prepare``: tokens per CPU second,
median of 3, beside a loop that reads the same lines and does nothing but cut them with the library
``tokenizers`` (for bytes: nothing at all) and write the tokens. ``memory``: the largest resident set of any
process, limit 250 MB. ``plan``: CPU seconds to find a prepared store from its request, beyond those of
importing what reads a spec, limit 0.2 for 100 shards. ``read``: order and gathering of windows, and a mixture
of three sources, beside the same rows of one array whose places are known (the limit) and beside an index of
every token. Exit code 1 when a limit is passed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

MEMORY_LIMIT = 250e6  # bytes resident in any process
PLAN_LIMIT = 0.2  # CPU seconds, 100 shards
READ_LIMIT = 1 / 4  # of the speed at which numpy copies rows whose places are known
READ_TOKENS = 200_000_000
ROUNDS = 3

PREPARE = """
import sys
from pathlib import Path
from scaling.corpora.jsonl import Jsonl
from scaling.data.prepare import prepare
from scaling.data.request import Request
from scaling.tokenizers.bpe import Bpe
from scaling.tokenizers.byte import Bytes

if __name__ == "__main__":
    folder, kind, processes = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    tokenizer = Bytes() if kind == "bytes" else Bpe(vocab_size=4096)
    corpus = Jsonl(files=("*.jsonl",))
    request = Request(corpus=corpus, label="jsonl", tokenizer=tokenizer, folder=folder)
    facts = prepare(request, processes)
    print(facts.fingerprint, facts.train_tokens + sum(d.tokens for d in facts.held_out), facts.coder_file)
"""

ALONE = """
import json, sys
from pathlib import Path
import numpy as np

folder, file = Path(sys.argv[1]), sys.argv[2]
count = 0
with open(folder / "alone.tokens", "wb") as out:
    tokenizer = None
    if file != "bytes":
        from tokenizers import Tokenizer
        tokenizer = Tokenizer.from_file(file)
    for path in sorted(folder.glob("*.jsonl")):
        with path.open() as lines:
            while batch := lines.readlines(1 << 20):
                texts = [json.loads(line)["text"] for line in batch]
                if tokenizer is None:
                    cut = [np.frombuffer(text.encode(), np.uint8) for text in texts]
                else:
                    encoded = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
                    cut = [np.array(each.ids, np.uint16) for each in encoded]
                joined = np.concatenate(cut)
                out.write(joined.data)
                count += len(joined)
print("-", count, "-")
"""

REQUEST = """
import sys, time
from pathlib import Path
import scaling.spec.models
from scaling.corpora.jsonl import Jsonl
from scaling.tokenizers.byte import Bytes

before = time.process_time()
import scaling.data.index
from scaling.data.request import Request, find

folder, corpus = Path(sys.argv[1]), Jsonl(files=("*.jsonl",))
request = Request(corpus=corpus, label="jsonl", tokenizer=Bytes(), folder=folder, documents=5, tokens=1000)
"""
FIND = """
facts = find(request)
print(time.process_time() - before, len(facts.shards), "numpy" in sys.modules)
"""
# Prepares one shard, and has the index say that there are as many as files.
GROW = """
import os
from scaling.data.facts import Shard
from scaling.data.prepare import prepare

facts = prepare(request)
count = len(list(folder.glob("*.jsonl")))
names = [f"train-{number:05d}.tokens" for number in range(count)]
shards = tuple(Shard(name=name, tokens=2**26, documents=1000, sha256="0" * 64) for name in names)
grown = facts.model_copy(update={"shards": shards, "train_tokens": count * 2**26})
(facts.folder / "index.json").write_text(grown.model_dump_json(by_alias=True, indent=1))
for shard in shards:
    for suffix, size in ((".tokens", shard.tokens), (".documents", 8 * shard.documents)):
        with (facts.folder / shard.name).with_suffix(suffix).open("w") as file:
            os.truncate(file.fileno(), size)
"""


def run(program: str, *arguments: object) -> tuple[float, list[str]]:
    """Return (CPU seconds, words printed) of a program in a fresh process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", program, *map(str, arguments)]
    environment = os.environ | {"TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, done.stdout.split()


def sentences() -> list[str]:
    from scaling.corpora.shipped import Shipped

    corpus = Shipped(name="state-of-the-union")
    documents = (d for part in corpus.parts(Path()) for d in corpus.read(part))
    texts = (d.content.decode() for d in documents if isinstance(d.content, bytes))
    return [sentence + ". " for text in texts for sentence in text.split(". ")]


def texts(size: int) -> Iterator[str]:
    """Yield documents of 200 to 20,000 characters, ``size`` in all."""
    every, generator = sentences(), random.Random(0)
    while size > 0:
        document = "".join(generator.choices(every, k=generator.choice([2, 5, 20, 80])))
        size -= len(document)
        yield document


def write_text(folder: Path, size: int, files: int = 4) -> None:
    outputs = [(folder / f"{number}.jsonl").open("w") for number in range(files)]
    for number, text in enumerate(texts(size)):
        outputs[number % files].write(json.dumps({"text": text}) + "\n")
    for output in outputs:
        output.close()


def prepare(folder: Path) -> bool:
    write_text(folder, 64_000_000)
    cache = Path(os.environ["SCALING_CACHE"])
    for kind in ("bytes", "bpe"):
        _, (fingerprint, tokens, coder) = run(PREPARE, folder, kind, 1)  # trains the tokenizer
        alone_by = folder / "tokenizer.json"
        if kind == "bpe":
            shutil.copy(cache / "data" / fingerprint / coder, alone_by)
        ours, alone = list[float](), list[float]()
        for _ in range(ROUNDS):
            shutil.rmtree(cache / "data")
            cpu, (_, tokens, _) = run(PREPARE, folder, kind, 1)
            ours.append(int(tokens) / cpu)
            cpu, (_, tokens, _) = run(ALONE, folder, "bytes" if kind == "bytes" else alone_by)
            alone.append(int(tokens) / cpu)
        rate, other = statistics.median(ours), statistics.median(alone)
        spread = f"[{min(ours) / 1e6:.2f}-{max(ours) / 1e6:.2f}]"
        print(
            f"{kind}: {rate / 1e6:.2f} {spread} million tokens per CPU second; alone {other / 1e6:.2f}; ",
            end="",
        )
        print(f"preparing takes {other / rate:.2f} times as long", flush=True)
    return True


def resident(pid: int) -> int:
    """Return the most bytes that a process ever had in memory, 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in status.splitlines() if line[:5] == "VmHWM"), 0)


def memory(folder: Path, size: int, kind: str) -> bool:
    import psutil

    write_text(folder, size, files=8)
    start, worst, total = time.monotonic(), 0, 0
    program = folder / "program.py"
    program.write_text(PREPARE)
    command = [sys.executable, str(program), str(folder), kind, "2"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            tree = [process.pid, *(c.pid for c in psutil.Process(process.pid).children(recursive=True))]
            sizes = [resident(pid) for pid in tree]
            worst, total = max(worst, *sizes, 0), max(total, sum(sizes))
            time.sleep(0.05)
    seconds = time.monotonic() - start
    print(
        f"{size / 1e9:.2f} GB, {kind}, 2 processes, {seconds:.0f} s: at most {worst / 1e6:.0f} MB in a "
        f"process (limit {MEMORY_LIMIT / 1e6:.0f}), {total / 1e6:.0f} MB in all"
    )
    return process.returncode == 0 and worst < MEMORY_LIMIT


def plan(folder: Path) -> bool:
    passed = True
    for shards in (100, 10_000):
        own = folder / str(shards)
        own.mkdir()
        for number in range(shards):
            text = "".join(random.Random(number).choices("abcdef ", k=1000))
            (own / f"{number:05d}.jsonl").write_text(json.dumps({"text": text}) + "\n")
        run(REQUEST + GROW, own)
        answers = [run(REQUEST + FIND, own)[1] for _ in range(ROUNDS)]
        seconds = statistics.median(float(cpu) for cpu, _, _ in answers)
        limit = f" (limit {PLAN_LIMIT})" if shards == 100 else ""
        print(f"{answers[0][1]} shards of {shards} files: found in {seconds:.3f} CPU seconds{limit}")
        passed &= answers[0][2] == "False" and (shards > 100 or seconds < PLAN_LIMIT)
    return passed


def read(folder: Path) -> bool:
    import numpy as np

    from scaling.data.gather import map_tokens

    size, generator = READ_TOKENS // 8, np.random.default_rng(0)
    files = [folder / f"train-{number:05d}.tokens" for number in range(8)]
    for file in files:
        generator.integers(0, 4096, size, np.uint16).tofile(file)
    passed = True
    for context in (64, 1024):
        rates = reading_rates(map_tokens(files, "uint16"), context)
        print(f"context {context}, million tokens per CPU second: ", end="")
        print(", ".join(f"{name} {rate / 1e6:.0f}" for name, rate in rates.items()), flush=True)
        passed &= rates["ours"] > READ_LIMIT * rates["limit"]
    return passed


def reading_rates(shards: list[Any], context: int) -> dict[str, float]:
    """Return tokens per CPU second, medians, of windows in the order of a run and by other ways."""
    import numpy as np

    from scaling.corpora.quotas import quotas
    from scaling.data.gather import Text
    from scaling.data.order import mixture_at, windows_at, windows_of

    text, whole = Text(shards), np.concatenate(shards)
    count, windows = 2**23 // context, (text.tokens - 1) // context
    known = windows_at(0, 0, count, windows) * context

    def limit() -> np.ndarray:
        return np.lib.stride_tricks.sliding_window_view(whole, context + 1)[known].astype(np.int32)

    def indices() -> np.ndarray:
        return whole[known[:, None] + np.arange(context + 1)].astype(np.int32)

    def ours() -> np.ndarray:
        return text.windows(windows_at(0, 0, count, windows) * context, context + 1)

    def mixture() -> np.ndarray:
        shares, each = quotas({"a": 1.0, "b": 1.0, "c": 1.0}), windows // 3
        source, place = mixture_at(0, np.arange(count, dtype=np.uint64), shares)
        return text.windows((source * each + windows_of(0, place, each)) * context, context + 1)

    assert (ours() == limit()).all() and (indices() == limit()).all()
    rates = dict[str, float]()
    for work in (limit, indices, ours, mixture):
        seconds = list[float]()
        for _ in range(2 * ROUNDS + 1):
            before = time.process_time()
            work()
            seconds.append(time.process_time() - before)
        rates[work.__name__] = count * context / statistics.median(seconds)
    return rates


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["prepare", "memory", "plan", "read"])
    parser.add_argument("--bytes", type=float, default=1e9, help="of text for `memory`")
    parser.add_argument("--tokenizer", choices=["bytes", "bpe"], default="bpe", help="for `memory`")
    arguments = parser.parse_args()
    packages = ", ".join(f"{name} {version(name)}" for name in ("numpy", "tokenizers"))
    print(f"Python {python_version()}, {packages}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SCALING_CACHE"] = str(Path(folder) / "cache")
        corpus = Path(folder) / "corpus"
        corpus.mkdir()
        match arguments.what:
            case "prepare":
                passed = prepare(corpus)
            case "memory":
                passed = memory(corpus, int(arguments.bytes), arguments.tokenizer)
            case "read":
                passed = read(corpus)
            case _:
                passed = plan(corpus)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
