from __future__ import annotations

import pytest

from scaling.plan.cost import makespan
from scaling.store.records import JobProgress
from scaling.sweep.progress import Pace, Throughput


def report(done: float, total: float = 100.0) -> JobProgress:
    return JobProgress(run_id="r", step=1, steps=2, job_flops_done=done, job_flops_total=total)


@pytest.mark.parametrize(
    ("busy", "queued", "workers", "seconds"),
    [
        ([], [], 2, 0.0),
        ([5.0], [], 2, 5.0),
        ([5.0, 1.0], [3.0, 2.0], 2, 6.0),  # 1 + 3 on one worker; 2 more waits for it or for 5: 4 + 2
        ([], [4.0, 3.0, 3.0], 2, 6.0),
        ([], [3.0, 3.0, 4.0], 1, 10.0),
    ],
)
def test_makespan(busy: list[float], queued: list[float], workers: int, seconds: float) -> None:
    assert makespan(queued, workers, busy) == seconds


def test_eta_from_flops_and_measured_speed() -> None:
    throughput, pace = Throughput(), Pace(100.0, started=0.0)
    assert throughput.eta([pace], [50.0], 1, now=5.0) is None  # nothing reported yet
    pace.report(report(20.0), now=10.0)
    assert throughput.eta([pace], [50.0], 1, now=10.0) == pytest.approx((80 + 50) / 2)
    pace.report(report(60.0), now=20.0)  # 4 FLOPs a second once it had compiled, 3 with that
    assert throughput.eta([pace], [60.0], 1, now=20.0) == pytest.approx(40 / 4 + 60 / 3)
    assert throughput.eta([pace], [60.0], 2, now=20.0) == pytest.approx(60 / 3)
    assert throughput.eta([pace], [], 2, now=24.0) == pytest.approx(
        40 / 4 - 4
    )  # time since the report counts
    throughput.finished(pace, now=50.0)  # 100 FLOPs in 50 s
    assert throughput.eta([], [50.0, 30.0], 1, now=50.0) == pytest.approx(80 / 2)
    assert throughput.eta([], [], 1, now=50.0) == 0.0


def test_work_done_before_a_resume_is_no_speed() -> None:
    pace = Pace(100.0, started=0.0, resumed=True)
    pace.report(report(90.0), now=1.0)
    assert pace.work == 0 and Throughput().eta([pace], [], 1, now=1.0) is None
    pace.report(report(95.0), now=2.0)
    assert pace.work == 5 and pace.remaining == 5
