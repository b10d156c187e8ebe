"""A curve on disk: one JSON object a line, one writer, any number of readers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling.files import sync, tail

if TYPE_CHECKING:
    from scaling.run import ExternalRun, Run

Row = dict[str, Any]
write_bytes = os.write


class Vanished(Exception):
    """The file was removed or replaced while it was written."""


class CurveLog:
    """Rows of a ``metrics.jsonl`` or ``trunk.jsonl``, in order of steps.

    Rows are appended through the descriptor of the file that :meth:`restart` put in place: a writer whose
    successor has started writes to a file that nobody reads. ``guard`` is called before every write; it
    raises when this process may not.
    """

    def __init__(self, path: Path, guard: Callable[[], None]):
        self.path, self.guard = path, guard
        self._descriptor: int | None = None
        self._last: tuple[int, bool] = (0, False)

    def rows(self, *, beyond_damage: bool = False) -> list[Row]:
        """Return the whole rows; to resume from, what follows a damaged row is not trusted."""
        try:
            rows = [_row(line) for line in self.path.read_bytes().split(b"\n")[:-1]]
        except (FileNotFoundError, NotADirectoryError):
            return []
        if None in rows and not beyond_damage:
            rows = rows[: rows.index(None)]
        return [row for row in rows if row]

    def restart(self, rows: list[Row]) -> None:
        """Replace the file by these rows, and hold it."""
        self.close()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
        try:
            _write(descriptor, rows)
            os.fsync(descriptor)  # rows that were on the disk stay there
            self.guard()
            os.replace(aside, self.path)
        except BaseException:
            os.close(descriptor)
            aside.unlink(missing_ok=True)
            raise
        self._descriptor = descriptor
        self._last = max(map(place_of, rows), default=(0, False))

    def put(self, *rows: Row) -> None:
        """Append rows, which are in order; where an earlier launch went further, insert them in order of
        steps, in place of those of their step and kind.

        Raises:
            Vanished: the file held is no longer the one in place.
        """
        places = [place_of(row) for row in rows]
        if not rows or places[0] > self._last:
            self.append(*rows)
            return
        self._require_in_place()
        others = [other for other in self.rows() if place_of(other) not in places]
        self.restart(sorted([*others, *rows], key=place_of))

    def append(self, *rows: Row) -> None:
        """Raises Vanished when the file held is no longer the one in place."""
        self._require_in_place()
        if not rows:
            return
        self.guard()
        assert self._descriptor is not None
        _write(self._descriptor, [*rows])
        self._last = place_of(rows[-1])

    def settle(self) -> None:
        """Wait until all rows are on the disk: a checkpoint after them must not outlive them."""
        self._require_in_place()
        assert self._descriptor is not None
        os.fsync(self._descriptor)
        sync(self.path.parent)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _require_in_place(self) -> None:
        if self._descriptor is None:
            raise RuntimeError(f"{self.path} was not started")
        try:
            same = os.path.samestat(os.stat(self.path), os.fstat(self._descriptor))
        except (FileNotFoundError, NotADirectoryError):
            same = False
        if not same:
            self.guard()  # a successor's file is no damage
            raise Vanished(f"{self.path.name} was removed or replaced by somebody else while it was written")


def is_evaluation(row: Row) -> bool:
    return "eval/loss" in row


def row_at(run: Run | ExternalRun, step: int) -> Row:
    """Return the row of a curve at ``step``, without what was measured there."""
    return {"step": step, "tokens": step * run.batch_tokens, "flops": run.flops_per_step * step}


def place_of(row: Row) -> tuple[int, bool]:
    """Order rows: by step, an evaluation after the training before it."""
    return row["step"], is_evaluation(row)


def _write(descriptor: int, rows: list[Row]) -> None:
    data = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
    while data:
        data = data[write_bytes(descriptor, data) :]


def up_to(rows: list[Row], step: int) -> list[Row]:
    return [row for row in rows if row["step"] <= step]


@dataclass(frozen=True)
class Metrics:
    """Rows of one ``metrics.jsonl``, in file order; ``skipped`` lines were torn or damaged."""

    rows: tuple[Row, ...]
    skipped: int


def read_metrics(path: Path) -> Metrics:
    """Return every whole row of ``path``; a last line without its newline is still being written: skipped."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return Metrics((), 0)
    skipped = 1 if lines.pop() else 0
    try:
        rows = json.loads(b"[" + b",".join(lines) + b"]")
        if all(isinstance(row, dict) and "step" in row for row in rows) and len(rows) == len(lines):
            return Metrics(tuple(rows), skipped)
    except ValueError:
        pass  # some line is damaged: find out which
    rows = [row for line in lines if (row := _row(line)) is not None]
    return Metrics(tuple(rows), skipped + len(lines) - len(rows))


class Appended:
    """What is new in a file of rows that its writer appends to, or replaces by one with fewer."""

    def __init__(self, path: Path):
        self.path, self._seen, self._offset = path, (0, 0), 0

    def rows(self) -> tuple[list[Row], bool]:
        """Return the whole rows since the last call, and whether they are all there are of another file than
        before; its first is one too."""
        try:
            with open(self.path, "rb") as file:
                status = os.fstat(file.fileno())
                identity = status.st_dev, status.st_ino
                replaced = identity != self._seen or status.st_size < self._offset
                if replaced:
                    self._seen, self._offset = identity, 0
                file.seek(self._offset)
                content = file.read()
        except (FileNotFoundError, NotADirectoryError):
            return [], False
        whole = content[: content.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [row for line in whole.splitlines() if (row := _row(line)) is not None], replaced


def last_row(path: Path, window: int = 4096) -> Row | None:
    """Return the last whole row of ``metrics.jsonl``, without reading the rest."""
    try:
        lines = tail(path, window).split(b"\n")[:-1]
    except FileNotFoundError:
        return None
    return next((row for line in reversed(lines) if (row := _row(line)) is not None), None)


def _row(line: bytes) -> Row | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("step"), int) else None
