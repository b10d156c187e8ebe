"""The lines that a command writes, checked as they come, and what is made of them: the curve of the run and
the progress of its job."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from scaling.errors import Complaint, UserError
from scaling.files import write_json
from scaling.run import ExternalRun
from scaling.store.metrics import CurveLog, Row, is_evaluation, up_to
from scaling.store.records import JobProgress
from scaling.supervisor.contract import HINT, LONGEST, MetricsRow, RunFile, read_row

REPORT_SECONDS = 1.0
PIECE = 8 << 20  # bytes of lines that are read at once


class Follower:
    """Reads ``metrics.jsonl`` of a command into ``log``.

    What an earlier start logged stays until this one has its first row. Where it resumed, that was from a
    checkpoint before that step: rows from there on are its own, and ``resumed`` is told where that is.
    """

    def __init__(
        self, asked: RunFile, run: ExternalRun, log: CurveLog, resumed: Callable[[int], None] | None
    ):
        self.asked, self.run, self.log, self.resumed = asked, run, log, resumed
        self.path = Path(asked.paths.metrics)
        self.step: int | None = None  # of the last row of this start
        self.loss: float | None = None
        self.started = time.monotonic()
        self.wall = 0.0  # of the start, in seconds of training
        self._place, self._lines, self._reported = 0, 0, 0.0
        log.restart(log.rows())

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
        values = row.values
        self.loss = values.get("train/loss", self.loss)
        evaluated = {name: values.pop(name) for name in list(values) if name.startswith("eval/")}
        if values:
            self._put({**values, "wall_time": self.seconds}, row.step)
        if evaluated:
            self._put({"eval/loss": None, **evaluated}, row.step)

    def _put(self, values: Row, step: int) -> None:
        self.log.put({**row_at(self.run, step), **values, **row_at(self.run, step)})

    @property
    def seconds(self) -> float:
        """Seconds of training, those of earlier starts included."""
        return round(self.wall + time.monotonic() - self.started, 4)

    def end(self, loss: float | None) -> None:
        """Close the curve, by the evaluation after the last step where the command wrote none."""
        if loss is not None and not any(
            row["step"] == self.run.steps and is_evaluation(row) for row in self.log.rows()
        ):
            self._put({"eval/loss": loss}, self.run.steps)
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


def row_at(run: ExternalRun, step: int) -> Row:
    """Return the row of a curve at ``step``, without what was measured there."""
    return {"step": step, "tokens": step * run.batch_tokens, "flops": run.flops_per_step * step}
