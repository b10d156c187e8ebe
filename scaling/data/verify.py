"""Whether a store is whole: sizes and sha256 of its files, and whether index and files agree."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import file_digest, sha256
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from scaling.data.facts import INDEX, Shard, StoreFacts
from scaling.data.gather import map_tokens
from scaling.data.processes import shared_out
from scaling.data.progress import Meter, Report, quiet
from scaling.data.request import documents_name, file_sizes, misfits
from scaling.errors import Complaint, UserError

HINT = "remove the folder of the store; the next plan prepares it again"


def verify(folder: Path, processes: int = 1, report: Report = quiet) -> list[Complaint]:
    """Check all files of a store; return what is wrong, nothing if it is whole.

    Args:
        folder: of the store.
        processes: how many share the work.
        report: is told how far it is.
    """
    path = folder / INDEX
    try:
        facts = StoreFacts.model_validate_json(path.read_bytes())
    except OSError as error:
        return [Complaint(f"cannot read the index: {error.strerror}", str(path), HINT)]
    except ValidationError:
        return [Complaint("it is not the index of a store", str(path), HINT)]
    wrong = list(_index(folder, facts))
    sizes = file_sizes(facts)
    meter = Meter(report, "checking", sum(sizes[shard.name] for shard in facts.files))
    for shard, found in shared_out(_file, [(folder, facts, shard) for shard in facts.files], processes):
        wrong += found
        meter.add(sizes[shard.name])
    return sorted(wrong, key=lambda complaint: complaint.where)


def check_files(facts: StoreFacts, most_bytes: int) -> int:
    """Check the sizes of all files of a store, and the sums of as many as ``most_bytes`` allow; return the
    bytes that were summed. What a job does before it trains.

    Raises:
        UserError: a file is missing, not of its size or has other bytes; every such file is named.
    """
    sizes, summed = file_sizes(facts), 0
    wrong = [Complaint("is missing or cut short", str(facts.folder / name), HINT) for name in misfits(facts)]
    if not wrong:
        for shard in facts.files:
            if summed + sizes[shard.name] <= most_bytes:
                summed += sizes[shard.name]
                wrong += _digest(facts.folder / shard.name, shard.sha256)
    if wrong:
        raise UserError(*wrong)
    return summed


def _index(folder: Path, facts: StoreFacts) -> Iterator[Complaint]:
    """Check what the index says against itself, and the tokenizer's file."""
    where = str(folder / INDEX)
    held_out = sum(d.tokens + (facts.tokenizer.separator is not None) for d in facts.held_out)
    sums = {
        "train_tokens": (facts.train_tokens, sum(shard.tokens for shard in facts.shards)),
        "train_documents": (facts.train_documents, sum(shard.documents for shard in facts.shards)),
        "documents": (facts.documents, facts.train_documents + facts.held_out_documents),
        "evaluation.tokens": (facts.evaluation.tokens if facts.evaluation else 0, held_out),
        "fingerprint": (facts.fingerprint, folder.resolve().name),
    }
    if facts.evaluation_bytes is not None:
        sums["evaluation_bytes.tokens"] = (facts.evaluation_bytes.tokens, held_out)
    for field, (said, found) in sums.items():
        if said != found:
            yield Complaint(f"{field} = {said}, but the rest of it says {found}", where, HINT)
    if facts.coder_file is not None:
        yield from _digest(folder / facts.coder_file, facts.tokenizer.sha256)


def _digest(path: Path, expected: str | None) -> Iterator[Complaint]:
    try:
        with path.open("rb") as file:
            found = file_digest(file, sha256).hexdigest()
    except OSError as error:
        yield Complaint(f"cannot read it: {error.strerror}", str(path), HINT)
        return
    if found != expected:
        yield Complaint("its content changed: the sha256 differs from the index", str(path), HINT)


def _file(task: tuple[Path, StoreFacts, Shard]) -> tuple[Shard, list[Complaint]]:
    """Check one file of tokens or bytes and, of a training shard, the places of its documents."""
    folder, facts, shard = task
    sizes, path = file_sizes(facts), folder / shard.name
    names = [shard.name, *([documents_name(shard.name)] if shard in facts.shards else [])]
    wrong = list[Complaint]()
    for name in names:
        try:
            size = (folder / name).stat().st_size
        except OSError as error:
            wrong.append(Complaint(f"cannot read it: {error.strerror}", str(folder / name), HINT))
            continue
        if size != sizes[name]:
            message = f"it has {size} bytes, by the index {sizes[name]}"
            wrong.append(Complaint(message, str(folder / name), HINT))
    if wrong:
        return shard, wrong
    wrong += _digest(path, shard.sha256)
    if not wrong and shard in facts.shards:
        [tokens] = map_tokens([path], facts.tokenizer.dtype)
        starts = np.fromfile(folder / documents_name(shard.name), "<u8")
        if not _fits(tokens, starts, facts.tokenizer.separator):
            message = "the places of documents in it are not those of the shard"
            wrong.append(Complaint(message, str(folder / documents_name(shard.name)), HINT))
    return shard, wrong


def _fits(tokens: np.ndarray, starts: np.ndarray, separator: int | None) -> bool:
    """Tell whether documents begin at ``starts``: at the first token, and each at a separator."""
    ordered = starts[0] == 0 and bool((starts[1:] > starts[:-1]).all()) and starts[-1] < len(tokens)
    return bool(ordered) and (separator is None or bool((tokens[starts] == separator).all()))
