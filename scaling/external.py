"""The side of a trainer of one's own: read ``run.json``, append to ``metrics.jsonl``, write ``result.json``.

This file needs Python 3.9 and nothing else, not even the package it comes with: copy it beside your trainer.

    run = External()                          # finds --run PATH among the arguments, or $SCALING_RUN
    step = 0
    if saved := run.latest():                 # (steps done, folder) of the newest checkpoint
        step, folder = saved
        load(folder)
    while step < run.steps:
        loss = train(run.batch_tokens)
        step += 1
        if step % 50 == 0:
            run.log(step, loss)
        if run.save_due(step):                # every checkpoint_seconds, and when asked to stop
            run.save(step, save_into)         # save_into(folder) writes what load() reads
        run.exit_if_asked()
    run.finish(loss=evaluate(), accuracy=0.5) # whatever else: columns of the table of runs

What each file holds: docs/reference/external.md. Losses are in nats per token.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

STOPPED = 130


class External:
    """A run that this process was asked to train: ``asked`` is ``run.json``.

    Of several processes that train one run, let one write: ``writes=rank == 0``.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, writes: bool = True):
        self.path = Path(path or _given_path())
        self.writes = writes
        self.asked: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        self._stat = self._now()
        self._saved = time.monotonic()
        self.stop_asked = False
        """Whether to save and exit: set by SIGTERM."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._ask)
        self.run_id: str = self.asked["run_id"]
        self.name: str = self.asked["size"]["name"]
        self.config: dict[str, Any] = self.asked["size"]["config"]
        self.recipe: dict[str, Any] = self.asked["recipe"]
        self.steps: int = self.asked["steps"]
        self.tokens: int = self.asked["tokens"]
        self.context: int = self.asked["context"]
        self.batch_sequences: int = self.asked["batch_sequences"]
        self.batch_tokens: int = self.asked["batch_tokens"]
        self.learning_rate: float | None = self.asked["learning_rate"]
        self.seed: int = self.asked["seed"]
        self.order: int = self.asked["order"]
        self.evaluate_at: set[int] = set(self.asked["evaluate_at"])
        self.checkpoints = Path(self.asked["paths"]["checkpoints"])

    def log(
        self,
        step: int,
        loss: Any = None,
        eval_loss: Any = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        """Append a line: after ``step`` steps, the mean training loss since the last line, a held-out one."""
        row = {"train/loss": loss, "eval/loss": eval_loss, **(more or {})}
        numbers = {name: _number(value) for name, value in row.items() if value is not None}
        self._append({"step": step, "tokens": step * self.batch_tokens, **numbers})

    def finish(self, loss: Any, **more: Any) -> None:
        """Write the result: the held-out loss after the last step, and what else is to be in the table.

        A loss that is not finite counts as divergence.
        """
        number = _number(loss)
        if number is None:
            self.diverged(f"the loss after the last step is {float(loss)}", **more)
        else:
            self._write_result({"status": "ok", "loss": number, "steps": self.steps, **more})

    def diverged(self, reason: str, **more: Any) -> None:
        """Write that the run diverged; it is not tried again."""
        self._write_result({"status": "diverged", "status_reason": reason, "loss": None, **more})

    def save_due(self, step: int) -> bool:
        """Whether to save now: asked to stop, or so long ago as the study wants between checkpoints."""
        long_ago = time.monotonic() - self._saved >= self.asked["checkpoint_seconds"]
        return step < self.steps and (self.stop_asked or long_ago)

    def save(self, step: int, write: Callable[[Path], object]) -> None:
        """Have ``write`` fill a folder, put it in place whole, and remove older ones."""
        if self.writes:
            self._require_own()
            other = self.checkpoints / f".{step}.{os.getpid()}"
            shutil.rmtree(other, ignore_errors=True)
            other.mkdir(parents=True)
            write(other)
            place = self.checkpoints / str(step)
            shutil.rmtree(place, ignore_errors=True)
            os.replace(other, place)
            for old in self.checkpoints.iterdir():
                if old != place:
                    shutil.rmtree(old, ignore_errors=True)
        self._saved = time.monotonic()

    def latest(self) -> tuple[int, Path] | None:
        """Return the newest whole checkpoint of :meth:`save`, as steps done and folder; None: start anew."""
        steps = [int(one.name) for one in self.checkpoints.glob("[0-9]*")]
        return (max(steps), self.checkpoints / str(max(steps))) if steps else None

    def exit_if_asked(self) -> None:
        """Exit with status 130 where this process was asked to stop. Save before."""
        if self.stop_asked:
            sys.exit(STOPPED)

    def _append(self, row: dict[str, Any]) -> None:
        if self.writes:
            self._require_own()
            with open(self.asked["paths"]["metrics"], "a", encoding="utf-8") as file:
                file.write(json.dumps(row, allow_nan=False) + "\n")

    def _write_result(self, result: dict[str, Any]) -> None:
        if self.writes:
            self._require_own()
            place = Path(self.asked["paths"]["result"])
            other = place.with_name(f".{place.name}.{os.getpid()}")
            with open(other, "w", encoding="utf-8") as file:
                own = {"run_id": self.run_id, "start": self.asked["start"]}
                fields = {name: _plain(value) for name, value in result.items()}
                json.dump({**own, **fields}, file, allow_nan=False)
                file.flush()
                os.fsync(file.fileno())
            os.replace(other, place)

    def _ask(self, *_: object) -> None:
        self.stop_asked = True

    def _now(self) -> tuple[int, int] | None:
        try:
            stat = os.stat(self.path)
        except FileNotFoundError:
            return None
        return stat.st_ino, stat.st_mtime_ns

    def _require_own(self) -> None:
        """Write nothing where another start of this run has taken over."""
        if self._now() != self._stat:
            sys.exit(f"{self.path} is that of another start by now: this one writes nothing more")


def _given_path() -> str:
    for i, word in enumerate(sys.argv):
        if word == "--run" and i + 1 < len(sys.argv):
            return sys.argv[i + 1]
        if word.startswith("--run="):
            return word[len("--run=") :]
    if "SCALING_RUN" in os.environ:
        return os.environ["SCALING_RUN"]
    sys.exit("--run is missing: give the path of run.json")


def _number(value: Any) -> float | None:
    """Return a number as JSON has it, also of an array of one; None where it is not finite."""
    number = float(value)
    return number if math.isfinite(number) else None


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, also of an array of one; None for a number that is not finite."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
