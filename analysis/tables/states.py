"""How a run ended, in the words of trackers and schedulers (W&B, MLflow, Slurm, Ray), as ours."""

from __future__ import annotations

import re
from typing import Any

import pandas as pd

STATUSES = ("ok", "diverged", "failed")
# ours -> theirs, in small letters; what has not ended has failed so far
WORDS = {
    "ok": ("finished", "complete", "completed", "done", "success", "successful", "succeeded", "terminated"),
    "diverged": ("divergent", "nan", "exploded"),
    "failed": (
        "failure", "fail", "crashed", "crash", "error", "errored", "killed", "preempted", "preempting",
        "running", "pending", "queued", "scheduled", "starting", "initializing", "paused", "suspended",
        "stopped", "interrupted", "aborted", "canceled", "cancelled", "oom", "out_of_memory", "timeout",
        "timed_out", "node_fail", "boot_fail", "deadline", "revoked", "requeued", "resizing", "completing",
        "configuring", "launch_failed", "incomplete", "unfinished",
    ),
}  # fmt: skip
OURS = {word: status for status, words in WORDS.items() for word in (status, *words)}


def outcome(cell: Any) -> str | None:
    """One of ``STATUSES``; None: no word that is known. Slurm adds who cancelled a job."""
    word = re.sub(r"\W+", "_", cell.lower().split(" by ")[0].strip()) if isinstance(cell, str) else ""
    return OURS.get(word)


def unknown(series: pd.Series) -> list[Any]:
    """The cells, each once, that say no known outcome."""
    return [cell for cell in series.dropna().unique() if outcome(cell) is None]


def translate(frame: pd.DataFrame) -> str | None:
    """Put our words into ``status`` and, where nothing stands there, theirs into ``status_reason``; what to
    note of it."""
    status: Any = frame["status"]
    ours = status.map(outcome, na_action="ignore")
    other = status.notna() & (status != ours)
    if not other.any():
        return None
    reasons: Any = (
        frame["status_reason"] if "status_reason" in frame.columns else pd.Series(None, frame.index)
    )
    frame["status_reason"] = reasons.astype(object).where(reasons.notna() | ~other | (ours == "ok"), status)
    frame["status"] = ours
    pairs = dict.fromkeys(zip(status[other], ours[other], strict=True))
    return "status: " + ", ".join(f"{theirs} read as {own}" for theirs, own in pairs)
