"""A whole store: held-out documents, shards, what the two share, and last the index."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scaling.data.evaluation import evaluated
from scaling.data.facts import INDEX, HeldOut, Overlap, StoreFacts, store_folder
from scaling.data.processes import shared_out
from scaling.data.progress import Meter, Report
from scaling.data.request import Request, whole
from scaling.data.shards import (
    Coding,
    ShardTask,
    Written,
    ngrams,
    write_evaluation,
    write_shard,
    written_before,
)
from scaling.data.split import Split
from scaling.data.survey import SurveyedCorpus
from scaling.data.work import WAIT_SECONDS, Work, lock_path, versions
from scaling.errors import Complaint, UserError
from scaling.files import lock, sync, write_text


@dataclass(frozen=True)
class Contents:
    """All that decides what a store holds."""

    request: Request
    corpus: SurveyedCorpus
    content_sha256: str
    coding: Coding
    split: Split


def write_store(
    fingerprint: str, contents: Contents, work: Work, processes: int, report: Report
) -> StoreFacts:
    """Write a store, or what an earlier attempt left to be written, and put it in its place.

    Args:
        fingerprint: its name.
        contents: what goes into it.
        work: where it grows.
        processes: how many share the work.
        report: is told how far it is.

    Raises:
        UserError: a file changed since it was surveyed.
        OSError: a file cannot be written.
    """
    request, corpus, coding, split = contents.request, contents.corpus, contents.coding, contents.split
    folder, done = work.store(fingerprint), work.done(fingerprint)
    coder_file = _copy_coder(coding.file, folder)
    held_out, contents_held_out, evaluation, evaluation_bytes = (), (), None, None
    if split.stored:
        held_out, contents_held_out, evaluation, evaluation_bytes = write_evaluation(
            folder, split.stored, coding
        )
    looked_for, compared = None, _evaluated(request, held_out, coding)
    if compared and request.split != "all":
        looked_for = done / "ngrams.npy"
        hashes = [ngrams([content]) for content in contents_held_out[:compared]]
        np.save(looked_for, np.unique(np.concatenate(hashes)))
    written = list[Written]()
    if request.split != "all":
        written = _write_shards(_tasks(contents, looked_for, folder, done), processes, report)
    shards = tuple(each.shard for each in written if each.shard is not None)
    tokens, documents = sum(s.tokens for s in shards), sum(s.documents for s in shards)
    separators = documents if coding.facts.separator is not None else 0
    empty = sum(each.empty for each in written)
    if not held_out if request.split == "all" else tokens == separators:
        raise UserError(_no_tokens(corpus.documents, empty))
    size, text = sum(each.bytes for each in written), request.tokenizer is not None
    facts = StoreFacts(
        schema=2,
        fingerprint=fingerprint,
        corpus=request.label,
        content_sha256=contents.content_sha256,
        tokenizer=coding.facts,
        split=split.facts,
        documents=corpus.documents - empty,
        bytes=corpus.bytes if text else None,
        train_documents=documents,
        train_tokens=tokens,
        separators=separators,
        bytes_per_token=size / (tokens - separators) if text and tokens else request.corpus.known_width(),
        shards=shards,
        evaluation=evaluation,
        evaluation_bytes=evaluation_bytes,
        held_out=held_out,
        held_out_documents=corpus.documents - empty - documents,
        tally=_tally(corpus.tally, empty),
        overlap=_overlap(looked_for, compared if compared < len(held_out) else None, written, done),
        coder=request.tokenizer and request.tokenizer.model_dump(mode="json"),
        coder_file=coder_file,
        versions=versions() | request.corpus.versions(request.folder),
    )
    return _move(folder, facts)


def _evaluated(request: Request, held_out: Sequence[HeldOut], coding: Coding) -> int:
    """Count the held-out documents that the request evaluates: what training text is compared with."""
    unpredicted = int(coding.facts.separator is None)
    return evaluated((d.tokens - unpredicted for d in held_out), request.documents, request.tokens)


def _no_tokens(documents: int, empty: int) -> Complaint:
    if empty:
        message = f"no tokens are left to train on: {empty} of {documents} documents are cut into none"
        return Complaint(message, "files", "take another tokenizer, or other text")
    message = f"no tokens are left: the {documents} documents are held out, or are cut into none"
    return Complaint(message, "files", "hold out less (evaluation.share), or take another tokenizer")


def _tally(tally: dict[str, int], empty: int) -> dict[str, int]:
    return dict(sorted((Counter(tally) + Counter(empty=empty)).items()))


def _copy_coder(file: Path | None, folder: Path) -> str | None:
    if file is None:
        return None
    name = f"tokenizer{file.suffix}"
    shutil.copyfile(file, folder / name)
    return name


def _tasks(contents: Contents, looked_for: Path | None, folder: Path, done: Path) -> list[ShardTask]:
    return [
        ShardTask(
            corpus=contents.request.corpus,
            group=group,
            surveyed=contents.corpus.surveyed[group.number].parts,
            coding=contents.coding,
            exclusion=contents.split.exclusion,
            ngrams=looked_for,
            folder=folder,
            result=done / f"{group.number:05d}.json",
        )
        for group in contents.corpus.groups
    ]


def _write_shards(tasks: list[ShardTask], processes: int, report: Report) -> list[Written]:
    """Write the shards that an earlier attempt did not; return them all, in order."""
    before = {task.group.number: written_before(task) for task in tasks}
    written = {number: each for number, each in before.items() if each is not None}
    missing = [task for task in tasks if task.group.number not in written]
    total = sum(task.group.size for task in tasks)
    meter = Meter(report, "tokenising", total, total - sum(task.group.size for task in missing))
    for group, each in shared_out(write_shard, missing, processes):
        written[group.number] = each
        meter.add(group.size)
    return [written[task.group.number] for task in tasks]


def _overlap(
    looked_for: Path | None, documents: int | None, written: Iterable[Written], done: Path
) -> Overlap | None:
    """Join what the groups share with the evaluated documents."""
    if looked_for is None:
        return None
    count = len(np.load(looked_for, mmap_mode="r"))
    shared = np.zeros(-(-count // 8), np.uint8)
    for each in written:
        if each.shared is not None:
            shared |= np.fromfile(done / each.shared, np.uint8)
    return Overlap(ngrams=count, shared_ngrams=int(np.unpackbits(shared).sum()), documents=documents)


def _move(folder: Path, facts: StoreFacts) -> StoreFacts:
    """Complete a store by its index and put it where stores lie.

    One that is there already stays if it is whole: another request may have had the same answer meanwhile.
    """
    write_text(folder / INDEX, facts.model_dump_json(by_alias=True, indent=1) + "\n")
    place = store_folder(facts.fingerprint)
    with lock(lock_path(facts.fingerprint), WAIT_SECONDS):
        if (known := whole(facts.fingerprint)) is not None:
            return known
        if place.exists():
            broken = folder.with_name(f"{folder.name}-broken")
            place.rename(broken)
            shutil.rmtree(broken)
        folder.rename(place)
        sync(place.parent)
    return facts
