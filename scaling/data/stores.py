"""Stores for what a spec says of its data: found, or prepared where they are missing. No numpy here."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scaling.data.facts import Overlap, StoreFacts
from scaling.data.progress import Report, quiet
from scaling.data.request import Request, find, find_overlap
from scaling.errors import Complaint, UserError


class Unprepared(UserError):
    """A corpus has to be prepared first."""

    def __init__(self, message: str):
        super().__init__(Complaint(message, "data.corpus", "run `scaling data prepare SPEC` first"))


@dataclass(frozen=True)
class Stores:
    """How missing stores are prepared: by so many ``processes``, and only where the files of the corpus have
    at most ``most_bytes``; ``report`` is told how far it is."""

    processes: int = 1
    most_bytes: float = math.inf
    report: Report = quiet

    def store(self, request: Request) -> StoreFacts:
        """Return the store of a request.

        Raises:
            UserError: the corpus cannot be had as requested; Unprepared: it is too large to be prepared here.
        """
        facts = find(request)
        if facts is not None:
            return facts
        if math.isfinite(self.most_bytes) and not request.corpus.is_here(request.folder):
            raise Unprepared("is not fetched yet")  # how large it is, only fetching it would tell
        size = sum(part.file.stat().st_size for part in request.corpus.inputs(request.folder))
        if size > self.most_bytes:
            raise Unprepared(f"{size / 1e6:,.0f} MB of text are not prepared yet")
        from scaling.data.prepare import prepare

        return prepare(request, self.processes, self.report)

    def overlap(self, evaluated: StoreFacts, training: StoreFacts, documents: int | None = None) -> Overlap:
        """Return what the first held-out ``documents`` of a store (None: all) share with the training text of
        another one, or with its own."""
        known = find_overlap(evaluated, training, documents)
        if known is not None:
            return known
        from scaling.data.set_overlap import measure_overlap

        return measure_overlap(evaluated, training, documents, self.processes, self.report)
