"""Whether the files of a store are what its index says."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import file_digest
from pathlib import Path

from scaling.data.facts import Shard, StoreFacts
from scaling.data.request import misfits
from scaling.errors import Complaint, UserError

HINT = "delete the store's folder and prepare the corpus again: scaling data prepare SPEC"


def check_files(facts: StoreFacts, most_bytes: int) -> int:
    """Check the sizes of all files of a store, and the sums of as many as ``most_bytes`` allow; return the
    bytes that were summed.

    Raises:
        UserError: a file is missing, not of its size or has other bytes; every such file is named.
    """
    problems = [Complaint("is missing or cut short", str(facts.folder / n), HINT) for n in misfits(facts)]
    if problems:
        raise UserError(*problems)
    summed = 0
    for shard in files_of(facts):
        path = facts.folder / shard.name
        size = path.stat().st_size
        if summed + size > most_bytes:
            continue
        summed += size
        if not is_sound(path, shard):
            problems.append(Complaint("has changed since it was written", str(path), HINT))
    if problems:
        raise UserError(*problems)
    return summed


def files_of(facts: StoreFacts) -> Iterator[Shard]:
    """Yield the files of a store that have a sum."""
    yield from facts.shards
    for shard in (facts.evaluation, facts.evaluation_bytes):
        if shard is not None:
            yield shard


def is_sound(path: Path, shard: Shard) -> bool:
    """Tell whether a file has the bytes that were written."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest() == shard.sha256
