"""How a trainer of one's own was last started."""

from __future__ import annotations

from scaling.store.documents import Document
from scaling.store.process import Process

START = "command.json"  # in the folder of a job


class CommandStart(Document):
    """The content of :data:`START`. ``keeper`` is the process that the command descends from,
    ``resumed_from`` the step after which its first row came."""

    start: int
    keeper: Process
    resumed_from: int = 0
