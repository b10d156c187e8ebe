"""What ``scaling status`` prints of Slurm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import groupby

from scaling.cli.words import duration
from scaling.errors import plural
from scaling.sweep.slurm.allocations import LIVING, Allocation, Allocations

ENDED_LINES = 5  # of those that have something to say


def allocations_text(known: Allocations, now: datetime | None = None) -> str:
    """Say how many there are, a line for each that lives (one for those that wait alike), and what those
    that have ended last said."""
    now = now or datetime.now(UTC)
    counts = Counter(row.state for row in known.rows)
    states = ", ".join(f"{counts[state]} {state}" for state in (*LIVING, "ended", "lost") if counts[state])
    head = f"Slurm ({known.source}): {plural(len(known.rows), 'allocation')}: {states}"
    lines = [head, *([f"  {known.problem}: what follows is by the files alone"] if known.problem else [])]
    waiting = [row for row in known.living if row.state != "running" and not row.requeued]
    for row in known.living:
        if row.state == "running":
            lines.append(f"  {_running(row, now)}")
        elif row.requeued:
            lines.append(f"  {_waiting([row], now)}")
    waiting.sort(key=_kind_of_waiting)
    lines += [f"  {_waiting([*rows], now)}" for _, rows in groupby(waiting, key=_kind_of_waiting)]
    last = [row for row in known.rows if row.state == "lost" or (row.state == "ended" and row.message)]
    alike = dict[tuple[str, ...], list[Allocation]]()
    for row in last:
        alike.setdefault((row.state, row.reason, row.message), []).append(row)
    lines += [f"  {_ended(rows)}" for rows in [*alike.values()][-ENDED_LINES:]]
    return "\n".join(lines)


def _kind_of_waiting(row: Allocation) -> tuple[str, str, str, str]:
    return row.submission, row.kind, row.state, row.reason


def _running(row: Allocation, now: datetime) -> str:
    parts = [f"{_name(row)} running{f' on {row.node}' if row.node else ''}"]
    if row.reason:
        parts.append(row.reason)
    if row.since:
        parts.append(f"for {_ago(row.since, now)}")
    if row.left is not None:
        parts.append(f"{duration(row.left)} left")
    if row.restarts:
        parts.append(f"start {row.restarts + 1}")
    return ", ".join(parts)


def _waiting(rows: Sequence[Allocation], now: datetime) -> str:
    """Describe allocations that wait for the same."""
    first = rows[0]
    name = _names(rows)
    held = "held, " if first.state == "held" else ""
    what = f"queued again, {held}" if first.requeued else held
    state = "submitting" if first.state == "submitting" else "pending"
    text = f"{name} {what}{state}"
    came = min((row.since for row in rows if row.since), default=None)
    if came:
        text += f" for {_ago(came, now)}"
    if first.reason:
        text += f": {first.reason}" + (f" ({first.meaning})" if first.meaning else "")
    starts = [row.start for row in rows if row.start and row.start > now]
    if starts:
        text += f"; may start in {duration((min(starts) - now).total_seconds())}"
    return text


def _ended(rows: Sequence[Allocation]) -> str:
    """Describe allocations that ended alike."""
    row = rows[-1]
    state = f"{row.state}{f' ({row.reason})' if row.reason else ''}"
    if row.state == "lost":
        state += ": it could not say why; another one takes its jobs over"
    return f"{_names(rows)} {state}" + (f": {row.message}" if row.message else "")


def _names(rows: Sequence[Allocation]) -> str:
    return _name(rows[0]) if len(rows) == 1 else f"{_name(rows[0])} and {len(rows) - 1} more"


def _name(row: Allocation) -> str:
    what = "analysis " if row.kind == "analysis" else ""
    return f"{what}{row.job or row.submission}"


def _ago(moment: datetime, now: datetime) -> str:
    return duration(max(0.0, (now - moment).total_seconds()))
