"""A run's curve on disk: one JSON object a line, one writer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from scaling.files import write_text


class CurveLog:
    """Rows of a ``metrics.jsonl`` or ``trunk.jsonl``, in order of steps."""

    def __init__(self, path: Path):
        self.path = path

    def rows(self, up_to: int) -> list[dict[str, Any]]:
        """Whole training rows with ``step <= up_to``; what follows a torn row is not trusted. An evaluation
        row belongs to a run that was being recorded: it is made again."""
        rows: list[dict[str, Any]] = []
        if self.path.exists():
            for line in self.path.read_text().splitlines():
                try:
                    row = json.loads(line)
                except json.JSONDecodeError:
                    break
                if row["step"] <= up_to and "eval/loss" not in row:
                    rows.append(row)
        return rows

    def restart(self, rows: list[dict[str, Any]]) -> None:
        """Replace the file by these rows."""
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in rows), durable=False)

    def append(self, row: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
