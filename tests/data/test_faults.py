"""What goes wrong while a corpus is prepared: one clear line, nothing half-done taken for whole."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import psutil
import pytest

from scaling.data import survey
from scaling.data import work as work_module
from scaling.data.facts import StoreFacts
from scaling.data.prepare import prepare
from scaling.data.progress import Progress
from scaling.data.request import Request, find
from scaling.data.write import write_store
from scaling.errors import UserError
from scaling.files import cache_dir
from scaling.tokenizers.byte import Bytes
from tests.data.fakes import Stalling, request_for, write_lines


def contents(facts: StoreFacts) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in facts.folder.iterdir() if path.suffix != ".json"}


@pytest.fixture
def ungrouped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file is a group of its own."""
    monkeypatch.setattr(survey, "GROUP_BYTES", 1)


def test_what_a_failed_attempt_did_is_not_done_again(
    work: Path, ungrouped: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = contents(prepare(request_for(work, Bytes())))
    for kept in (cache_dir() / "data").rglob("*"):
        kept.unlink() if kept.is_file() else None
    request = request_for(work, Bytes(), corpus=Stalling(files="*.txt"))
    reads = list[str]()
    monkeypatch.setattr(Stalling, "opened", lambda self, name: reads.append(name) or len(reads) == 5)
    with pytest.raises(KeyboardInterrupt):
        prepare(request)
    assert find(request) is None and reads == ["0.txt", "1.txt", "2.txt", "0.txt", "1.txt"]
    monkeypatch.setattr(Stalling, "opened", lambda self, name: reads.append(name))
    facts = prepare(request)
    assert contents(facts) == whole and reads[5:] == ["1.txt", "2.txt"]
    assert find(request) == facts and not [*(cache_dir() / "data" / "work").iterdir()]


PROGRAM = """
import sys
from pathlib import Path
from scaling.data import prepare as module, survey
from scaling.tokenizers.byte import Bytes
from tests.data.fakes import Stalling, request_for
if __name__ == "__main__":
    survey.GROUP_BYTES, module.SMALL_CORPUS = 1, 1
    corpus = Stalling(files="*.txt", stall=sys.argv[2])
    request = request_for(Path(sys.argv[1]), Bytes(), corpus=corpus)
    print(module.prepare(request, processes=2).fingerprint)
"""


def test_a_survey_cut_short_is_done_again(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = request_for(work, Bytes())
    monkeypatch.setattr("scaling.data.prepare.content_sha256", lambda files: interrupt())
    with pytest.raises(KeyboardInterrupt):
        prepare(request)
    monkeypatch.undo()
    monkeypatch.setenv("SCALING_CACHE", str(work.parent / "cache"))
    survey_file = wait_for("work/*/survey-00000")
    survey_file.write_bytes(survey_file.read_bytes()[:-1])
    assert prepare(request).documents == 300


def interrupt() -> str:
    raise KeyboardInterrupt


@contextmanager
def preparing(work: Path, stall: Path) -> Iterator[subprocess.Popen[str]]:
    """Prepare in a process, with two of its own that stop at the second file while ``stall`` is there."""
    (work.parent / "program.py").write_text(PROGRAM)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, work.parent / "program.py", work, stall]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(pattern: str) -> Path:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if found := next(iter((cache_dir() / "data").glob(pattern)), None):
            return found
        time.sleep(0.01)
    raise AssertionError(f"no {pattern}")


@pytest.mark.slow
def test_after_a_kill_another_process_goes_on_and_its_children_are_gone(work: Path, ungrouped: None) -> None:
    stall = work.parent / "stall"
    stall.touch()
    with preparing(work, stall) as process:
        first = wait_for("work/*/survey-00000")
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
    assert len(children) >= 3 and psutil.wait_procs(children, timeout=20)[1] == []
    surveyed = first.stat().st_mtime_ns
    stall.unlink()
    stale = first.parent / f".{first.name}.0.tmp"
    stale.touch()
    with preparing(work, stall) as process, preparing(work, stall) as other:
        wait_for("work/*/*-done/00000.json")
        assert first.stat().st_mtime_ns == surveyed and not stale.exists()
        fingerprints = {process.communicate()[0], other.communicate()[0]}
    facts = prepare(request_for(work, Bytes(), corpus=Stalling(files="*.txt", stall=str(stall))))
    assert fingerprints == {facts.fingerprint + "\n"}
    parallel = contents(facts)
    shutil.rmtree(cache_dir() / "data")
    assert contents(prepare(request_for(work, Bytes()))) == parallel
    assert not [*(cache_dir() / "data" / "work").iterdir()]


def test_who_comes_second_waits_and_is_told(work: Path) -> None:
    request, told = request_for(work, Bytes()), list[Progress]()
    first = work_module.alone(request.key(), told.append)
    with ThreadPoolExecutor(1) as pool:
        with first:
            second = pool.submit(prepare, request, report=told.append)
            while not told:
                time.sleep(0.001)
            assert not second.done() and not list((cache_dir() / "data").glob("work/*"))
        assert find(request) is None and second.result() == find(request)
    assert {progress.step for progress in told} == {
        "waiting",
        "surveying",
        "opening the tokenizer",
        "tokenising",
    }


def test_a_full_disk_leaves_nothing_that_looks_whole(
    work: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    request = request_for(work, Bytes())
    with (
        full_disk(30_000),  # the store has one file of 70 kB
        pytest.raises(OSError, match=r"File too large: .*train-00000.tokens"),
    ):
        prepare(request)
    assert find(request) is None and not list((cache_dir() / "data").glob("*/index.json"))
    assert prepare(request).train_documents > 200


def test_a_file_that_changes_while_it_is_read(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = list[str]()

    def grow(self: Stalling, name: str) -> None:
        times.append(name)
        if times.count("1.txt") == 2:
            with (work / "1.txt").open("a") as file:
                file.write("one line more\n")

    monkeypatch.setattr(Stalling, "opened", grow)
    request = request_for(work, Bytes(), corpus=Stalling(files="*.txt"))
    with pytest.raises(UserError, match=r"1\.txt: the file changed while it was being prepared"):
        prepare(request)
    assert find(request) is None
    monkeypatch.setattr(Stalling, "opened", lambda self, name: None)
    assert prepare(request).documents == 301
    assert not [*(cache_dir() / "data" / "work").iterdir()]


@pytest.mark.parametrize("damage", ["shard", "places", "evaluation", "index", "answer"])
def test_a_store_without_a_file_is_prepared_again(work: Path, damage: str) -> None:
    request = request_for(work, Bytes())
    facts = prepare(request)
    sound = contents(facts)
    match damage:
        case "shard":
            (facts.folder / "train-00000.tokens").write_bytes(b"cut short")
        case "places":
            (facts.folder / "train-00000.documents").unlink()
        case "evaluation":
            (facts.folder / "eval.tokens").unlink()
        case "index":
            (facts.folder / "index.json").write_text("{")
        case _:
            next((cache_dir() / "data" / "requests").iterdir()).write_text("{")
    assert find(request) is None
    assert prepare(request) == facts == find(request) and contents(facts) == sound


def test_text_that_is_not_text(work: Path) -> None:
    (work / "1.txt").write_bytes(b"good\nb\xffd\n")
    with pytest.raises(UserError, match=r"1.txt:2: byte 0xff, which is not UTF-8 at byte 1"):
        prepare(request_for(work, Bytes()))


def test_a_cache_that_cannot_be_written(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCALING_CACHE", str(work / "0.txt"))
    with pytest.raises(UserError, match=r"SCALING_CACHE: cannot keep prepared text in .*: Not a directory"):
        prepare(request_for(work, Bytes()))


def test_two_requests_with_the_same_answer_at_once(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = request_for(work, Bytes()), request_for(work, Bytes(), documents=6)
    answers = list[StoreFacts]()

    def first_the_other(*arguments: object) -> StoreFacts:
        monkeypatch.undo()
        monkeypatch.setenv("SCALING_CACHE", str(work.parent / "cache"))
        answers.append(prepare(two))
        return write_store(*arguments)  # pyright: ignore

    monkeypatch.setattr("scaling.data.prepare.write_store", first_the_other)
    assert prepare(one) == answers[0] == find(one) == find(two)
    assert not [*(cache_dir() / "data" / "work").iterdir()]


def test_a_corpus_of_nothing(work: Path) -> None:
    for path in work.iterdir():
        path.write_bytes(b"\n\n")
    with pytest.raises(UserError, match="files: the corpus has no text"):
        prepare(request_for(work, Bytes()))
    assert not [*(cache_dir() / "data" / "work").iterdir()]


def test_what_others_left_is_cleaned_away(work: Path) -> None:
    prepare(request_for(work, Bytes()))
    folder = cache_dir() / "data" / "work"
    for name, age in [("a-b", 0), ("c-d", 8)]:
        (folder / name).mkdir()
        then = time.time() - age * 86400
        os.utime(folder / name, (then, then))
    write_lines(work, files=1, seed=7)
    prepare(request_for(work, Bytes()))
    assert [path.name for path in folder.iterdir()] == ["a-b"]


def test_a_request_is_of_its_fields_and_files(work: Path) -> None:
    base = request_for(work, Bytes())
    others = [base.model_copy(update={"documents": 6}), base.model_copy(update={"separator": "none"})]
    keys = {request.key() for request in (base, *others)}
    assert len(keys) == 3 and Request.model_validate(base.model_copy()).key() in keys
