"""What a process that serves jobs reads on standard input and answers, a line of JSON each."""

from __future__ import annotations

import json
import os
import queue
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scaling.train.process import StopRequest


@dataclass(frozen=True)
class Order:
    """A job to be done; ``mark`` is that of a lease that may be taken over."""

    folder: Path
    mark: str = ""


def taking(orders: queue.Queue[Order], stop: StopRequest) -> Callable[[bytes], None]:
    """Return what takes a line: an order, or ``{"stop": true}``, which asks the process to stop."""

    def take(line: bytes) -> None:
        order = json.loads(line)
        if "stop" in order:
            stop.ask()
        else:
            orders.put(Order(Path(order["folder"]), order["mark"]))

    return take


def report(answers: int, order: Order, status: int) -> None:
    """Answer an order with its exit code, on the descriptor ``answers``."""
    os.write(answers, json.dumps({"folder": str(order.folder), "status": status}).encode() + b"\n")
