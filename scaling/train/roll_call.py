"""Every host of a job says twice a second that it is there; whoever misses one says so, and ends."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from scaling.store.failure import LOST_HOST, RELIEVED, STOPPED
from scaling.store.lease import LostLease

EVERY = 0.5  # seconds
ORDERLY = (0, STOPPED)  # all hosts end so together
PARTING = 3.0  # seconds for which a process may still end by itself when another one has


@dataclass
class Heard:
    """What was last heard of a host, and for how long nothing else was: in seconds in which this process
    listened, since it may have been stopped meanwhile."""

    name: str = ""
    beat: int = -1
    silent: float = 0.0
    stop: bool = False
    left: int | None = None
    why: str = ""


@dataclass
class RollCall:
    """``client`` is that of a coordination service. A host is lost when nothing was heard of it for
    ``seconds``. ``asked`` tells whether this process was asked to stop; ``at_end`` is done before it ends
    because of another, and before that ``relieve`` where the other ran out of memory."""

    client: Any
    number: int
    count: int
    seconds: float
    asked: Callable[[], bool]
    at_end: Sequence[Callable[[], None]]
    relieve: Callable[[str], object] = lambda reason: None
    heard: dict[int, Heard] = field(default_factory=dict)
    _own: Heard = field(default_factory=Heard)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        self.heard = {n: Heard() for n in range(self.count) if n != self.number}
        self._own.name = f"{socket.gethostname()}, process {os.getpid()}"
        for loop in (self._talk, self._watch):  # talking may hang
            threading.Thread(target=loop, daemon=True, name="roll-call").start()

    @property
    def stop_asked(self) -> bool:
        return any(host.stop for host in self.heard.values())

    def part(self, status: int, why: str) -> None:
        """Say that this process ends. Where it ran out of memory, the first host is first to end."""
        self._own.left, self._own.why = status, why
        with suppress(Exception):
            self._say()
        ends = time.monotonic() + PARTING
        while status == RELIEVED and self.number and self.heard[0].left is None and time.monotonic() < ends:
            time.sleep(EVERY / 5)

    def _say(self) -> None:
        own = self._own
        with self._lock:
            own.beat += 1
            content = {"name": own.name, "beat": own.beat, "stop": self.asked()}
            content |= {"left": own.left, "why": own.why}
            self.client.key_value_set(f"host/{self.number}", json.dumps(content), allow_overwrite=True)

    def _talk(self) -> None:
        while True:
            with suppress(Exception):  # of a service that does not answer: silence
                self._say()
                self.listen()
            time.sleep(EVERY)

    def listen(self) -> None:
        """Note what the others say."""
        for key, text in self.client.key_value_dir_get("host/"):
            number, now = int(key.rpartition("/")[2]), json.loads(text)
            if number != self.number and now["beat"] != self.heard[number].beat:
                self.heard[number] = Heard(**now)

    def _watch(self) -> None:
        while True:
            time.sleep(EVERY)
            self.judge()

    def judge(self) -> None:
        """End this process where another one is lost; called :data:`EVERY` so many seconds."""
        for number, host in list(self.heard.items()):
            host.silent += EVERY
            if host.left not in (None, *ORDERLY):
                self._follow(number, host)
            elif host.left is None and host.silent > self.seconds:
                reason = f"has not been heard of for {self.seconds:.0f} s"
                self._end(LOST_HOST, f"host {self._named(number, host)} {reason}")

    def _follow(self, number: int, host: Heard) -> None:
        """End as the other host did, unless this process does so by itself."""
        if host.left == RELIEVED:
            with suppress(LostLease):  # whoever has it now finds out by itself
                self.relieve(host.why)
            self.part(RELIEVED, host.why)
        else:
            time.sleep(PARTING)
        reason = f"ended with status {host.left}{': ' if host.why else ''}{host.why}"
        self._end(host.left or LOST_HOST, f"host {self._named(number, host)} {reason}")

    def _named(self, number: int, host: Heard) -> str:
        return f"{number} of {self.count}" + (f" ({host.name})" if host.name else "")

    def _end(self, status: int, why: str) -> None:
        for step in self.at_end:
            with suppress(Exception):
                step()
        with suppress(OSError):
            print(f"{why}; left: a relaunch of all hosts resumes from the checkpoint", flush=True)
            sys.stdout.flush()
        os._exit(status)
