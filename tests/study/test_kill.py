"""Short forms of benchmarks/chaos.py: what was done to a study, it ends like the same study left in peace."""

import os
import random
import signal
import time

import pytest

from benchmarks.faults import disk, drivers, kills, torn
from benchmarks.faults.study import Trial, differences, trained_twice

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def calm(tmp_path_factory):
    trial = Trial(tmp_path_factory.mktemp("calm") / "study")
    assert trial.finish(1) == [] and differences(trial.folder, trial) + trained_twice(trial) == []
    return trial.folder


@pytest.fixture
def chance():
    seed = random.randrange(10**6)
    print("seed", seed)  # shown when the test fails
    return random.Random(seed)


def check(rows):
    assert rows and not [problem for row in rows for problem in row.problems]
    assert all(row.survived == row.tried for row in rows)
    return sum(row.tried for row in rows)


def test_killed_at_random_moments(calm, tmp_path, chance):
    assert check(kills.section(calm, tmp_path, chance, kills=4, short=True)) == 4


def test_two_drivers_and_a_job_that_stands_still(calm, tmp_path, chance):
    assert check(drivers.section(calm, tmp_path, chance, short=True)) == 1


def test_full_disk(calm, tmp_path, chance):
    rows = disk.section(calm, tmp_path, chance, short=True)
    if not check(rows):
        pytest.skip(rows[0].note)


def test_damaged_files(calm, tmp_path, chance):
    assert check(torn.section(calm, tmp_path, chance, short=True)) >= 4


def test_interrupted_it_says_how_to_go_on(calm, tmp_path):
    trial = Trial(tmp_path / "study")
    process = trial.start()
    deadline = time.monotonic() + 120
    while not trial.progress() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    assert process.wait(60) == 130 and "run the same command again" in trial.heard()
    assert trial.finish(1) == [] and differences(calm, trial) == []
