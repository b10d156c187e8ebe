"""The lines that a command writes, checked as they come, and what is made of them: the curve of the run and
the progress of its job."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from scaling.errors import Complaint, UserError
from scaling.files import write_json
from scaling.run import ExternalRun
from scaling.store.metrics import CurveLog, Row, is_evaluation, place_of, row_at, up_to
from scaling.store.records import JobProgress
from scaling.supervisor.contract import HINT, LONGEST, METRICS, MetricsRow, RunFile, read_row

REPORT_SECONDS = 1.0
PIECE = 8 << 20  # bytes of lines that are read at once


class Follower:
    """Reads ``metrics.jsonl`` of a command into ``log``.

    What an earlier start logged stays until this one has its first row. Where it resumed, that was from a
    checkpoint before that step: rows from there on are its own, and ``resumed`` is told where that is.
    ``left`` are lines of the start before, whose supervisor may not have lived to read them.
    """

    def __init__(
        self,
        asked: RunFile,
        run: ExternalRun,
        log: CurveLog,
        resumed: Callable[[int], None] | None,
        left: bytes = b"",
    ):
        self.asked, self.run, self.log, self.resumed = asked, run, log, resumed
        self.path = Path(asked.paths.metrics)
        self.step: int | None = None  # of the last row of this start
        self.loss: float | None = None
        self.started = time.monotonic()
        self.wall = 0.0  # of the start, in seconds of training
        self._place, self._lines, self._reported = 0, 0, 0.0
        log.restart(self._with_unread(log.rows(), left))

    def read(self) -> bool:
        """Read what was written since; whether there was anything.

        Raises:
            UserError: a line is no row of this run.
        """
        read = False
        while piece := self._piece():
            *lines, rest = piece.split(b"\n")
            if not lines and len(rest) > LONGEST:
                where = f"{self.path}:{self._lines + 1}"
                raise UserError(Complaint(f"a line has more than {LONGEST} bytes", where, HINT))
            if not lines:
                break  # its end is still to come
            self._place += len(piece) - len(rest)
            for line in lines:
                self._lines += 1
                if line.strip():
                    where = f"{self.path}:{self._lines}"
                    self._take(read_row(line, self.asked, self.step or 0, where))
                    read = True
        return read

    def _piece(self) -> bytes:
        try:
            with open(self.path, "rb") as file:
                if os.fstat(file.fileno()).st_size < self._place:  # the command began it again
                    self._place = self._lines = 0
                    self.step = None
                file.seek(self._place)
                return file.read(PIECE)
        except FileNotFoundError:
            return b""

    def _take(self, row: MetricsRow) -> None:
        if self.step is None:
            before = up_to(self.log.rows(), row.step - 1) if self.asked.resumed else []
            self.log.restart(before)
            walls = [old["wall_time"] for old in before if not is_evaluation(old)]
            self.wall = walls[-1] if walls else 0.0
            if self.resumed:
                self.resumed(row.step - 1)
        self.step = row.step
        self.loss = row.values.get("train/loss", self.loss)
        for made in self._made(row, self.seconds):
            self.log.put(made)

    def _made(self, row: MetricsRow, wall: float) -> Iterator[Row]:
        """Return the rows of a curve that a line stands for: of training, of an evaluation."""
        evaluated = {name: value for name, value in row.values.items() if name.startswith("eval/")}
        trained = {name: value for name, value in row.values.items() if name not in evaluated}
        at = row_at(self.run, row.step)
        if trained:
            yield {**at, **trained, **at, "wall_time": wall}
        if evaluated:
            yield {**at, "eval/loss": None, **evaluated}

    def _with_unread(self, rows: list[Row], left: bytes) -> list[Row]:
        """Return the rows of a curve, with those of the start before that are still missing."""
        lines = list[MetricsRow]()
        with suppress(UserError):
            for line in left.split(b"\n")[:-1]:
                lines.append(read_row(line, self.asked, lines[-1].step if lines else 0, METRICS))
        walls = [row["wall_time"] for row in rows if not is_evaluation(row)]
        made = [row for line in lines for row in self._made(line, max(walls, default=0.0))]
        if not made:
            return rows
        read = any(_measured(row) == _measured(made[0]) for row in rows)
        known = rows if read else up_to(rows, made[0]["step"] - 1)
        last = max(map(place_of, known), default=(0, False))
        return [*known, *(row for row in made if place_of(row) > last)]

    @property
    def seconds(self) -> float:
        """Seconds of training, those of earlier starts included."""
        return round(self.wall + time.monotonic() - self.started, 4)

    def end(self, loss: float | None) -> None:
        """Close the curve, by the evaluation after the last step where the command wrote none."""
        if loss is not None and not any(
            row["step"] == self.run.steps and is_evaluation(row) for row in self.log.rows()
        ):
            self.log.put({**row_at(self.run, self.run.steps), "eval/loss": loss})
        self.log.settle()
        self.log.close()

    def report(self, folder: Path) -> None:
        """Write progress.json of the job in ``folder``, about once a second."""
        now = time.monotonic()
        if self.step is None or now - self._reported < REPORT_SECONDS:
            return
        self._reported = now
        progress = JobProgress(
            run_id=self.asked.run_id,
            step=self.step,
            steps=self.run.steps,
            job_flops_done=self.run.flops_per_step * self.step,
            job_flops_total=self.run.flops_per_step * self.run.steps,
            loss=self.loss,
        )
        write_json(folder / "progress.json", progress.to_json(), durable=False)


def _measured(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "wall_time"}
