"""The loop that runs jobs: the end of it, and what is said of that."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from scaling.sweep import course
from scaling.sweep.stops import WORDS, Reason, in_words


def test_jobs_that_end_one_after_the_other_are_not_killed(monkeypatch):
    now, running, killed = [0.0], dict[str, Any](), []

    def stop(job, *, kill):
        killed.extend([job] * kill)

    def sleep(seconds):
        now[0] += seconds

    def reap(self):
        """The first three end after 0.8 s each; the last does not listen."""
        for name in [name for name in running if now[0] >= 0.8 * (int(name) + 1) and name != "3"]:
            del running[name]

    running |= {str(n): SimpleNamespace(started=n, before={}) for n in range(4)}
    phase = SimpleNamespace(grace_seconds=1.0)
    queue: Any = SimpleNamespace(phase=phase, running=running, on_event=lambda event: None)
    executor: Any = SimpleNamespace(stop=stop)
    nothing: Any = None
    monkeypatch.setattr(course, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    monkeypatch.setattr(course.Course, "_reap", reap)
    course.Course(queue, executor, nothing, nothing, nothing, stops=["SIGINT"])._stop()
    assert [*running] == ["3"] and not killed and 3.3 < now[0] < 3.6, "a second after the last that ended"


def test_every_reason_to_stop_is_said_in_words() -> None:
    assert WORDS.keys() == {*Reason} and in_words(Reason.OUT_OF_TIME) == "--max-hours"
    assert in_words("SIGTERM") == "SIGTERM"
