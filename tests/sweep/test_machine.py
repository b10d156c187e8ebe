from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scaling.store.store import Store
from scaling.sweep import guard, machine
from scaling.sweep.executor import start
from scaling.sweep.guard import Presence, drivers, turn
from scaling.sweep.machine import Layout, cpu_quota, find_device, launch_environment, make_slots

CPU, GPU = Layout("cpu", ((),)), Layout("gpu", ((),))


def test_cpu_environment_is_single_threaded_and_keeps_what_the_user_set() -> None:
    base = {"HOME": "/h", "XLA_FLAGS": "--xla_dump_to=x", "GLIBC_TUNABLES": "glibc.malloc.check=1"}
    environment = launch_environment(base, CPU, glibc=True)
    assert environment["XLA_FLAGS"] == "--xla_dump_to=x --xla_cpu_multi_thread_eigen=false"
    assert environment["GLIBC_TUNABLES"] == "glibc.malloc.check=1:glibc.malloc.hugetlb=1"
    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "1"
    assert environment["HOME"] == "/h" and "JAX_PLATFORMS" not in environment
    assert "OMP_NUM_THREADS" not in base


def test_environment_is_the_same_when_made_twice_and_the_user_has_the_last_word() -> None:
    once = launch_environment({}, CPU, glibc=True)
    assert once["XLA_FLAGS"] == "--xla_cpu_multi_thread_eigen=false"
    assert once["GLIBC_TUNABLES"] == "glibc.malloc.hugetlb=1"
    assert launch_environment(once, CPU, glibc=True) == once
    own = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=true", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}
    assert own.items() <= launch_environment(own, CPU, glibc=True).items()


def test_environment_elsewhere() -> None:
    assert launch_environment({}, GPU) == {"PYTHONUNBUFFERED": "1"}
    assert "GLIBC_TUNABLES" not in launch_environment({}, CPU)
    four = launch_environment({}, Layout("cpu", ((),), threads=4))
    assert four["OMP_NUM_THREADS"] == "4" and "XLA_FLAGS" not in four
    forced = Layout("cpu", ((),), forced=True)
    assert launch_environment({}, forced)["JAX_PLATFORMS"] == "cpu"
    assert launch_environment({"JAX_PLATFORMS": "cuda"}, forced)["JAX_PLATFORMS"] == "cuda"


def test_slots() -> None:
    pins = hasattr(os, "sched_setaffinity")
    assert make_slots("auto", "cpu", 1, (2, 5), None) == (((2,), (5,)) if pins else ((), ()))
    assert make_slots("auto", "cpu", 2, (0, 1, 2, 3), None) == (((0, 1), (2, 3)) if pins else ((), ()))
    assert make_slots(3, "cpu", 1, (2, 5), None) == (((2,), (5,), (2,)) if pins else ((),) * 3)
    assert len(make_slots("auto", "cpu", 8, (0, 1), None)) == 1
    assert make_slots("auto", "cpu", 1, tuple(range(64)), 2.5) == ((), ())  # others use those cores too
    assert make_slots("auto", "gpu", 1, (0, 1), None) == ((),)
    assert make_slots(2, "tpu", 1, (0, 1), None) == ((), ())


def test_quota_of_both_cgroup_versions(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu_quota(tmp_path) is None
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("150000\n")
    assert cpu_quota(tmp_path) == 1.5
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cpu_quota(tmp_path) is None
    (tmp_path / "cpu.max").write_text("200000 100000\n")
    assert cpu_quota(tmp_path) == 2.0


def test_device_detection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"jax_cuda13_plugin", "libtpu"}
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: name in installed or None)
    assert find_device({}, tmp_path) == "cpu"
    (tmp_path / "nvidia0").touch()
    assert find_device({}, tmp_path) == "gpu"
    assert find_device({"CUDA_VISIBLE_DEVICES": ""}, tmp_path) == "cpu"
    assert find_device({"JAX_PLATFORMS": "cpu"}, tmp_path) == "cpu"
    assert find_device({"JAX_PLATFORMS": "cuda,cpu"}, tmp_path / "none") == "gpu"
    installed.clear()
    assert find_device({}, tmp_path) == "cpu"  # a GPU that this jax cannot use
    installed.add("libtpu")
    (tmp_path / "accel0").touch()
    assert find_device({}, tmp_path) == "tpu"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_a_started_job_is_pinned_before_it_runs_and_its_log_is_appended(tmp_path: Path) -> None:
    core, code = (
        max(os.sched_getaffinity(0)),
        "import os; print(os.sched_getaffinity(0), os.getpgid(0) == os.getpid())",
    )
    for attempt in (1, 2):
        layout = Layout("cpu", ((core,),))
        job = start(tmp_path, layout, 0, (sys.executable, "-S", "-c", code))
        assert job.attempt == attempt
        assert job.process.wait(10) == 0
        job.close()
    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("===")] == [f"{{{core}}} True"] * 2
    assert lines[2].startswith("=== start 2, ") and f"core {core}: " in lines[2]


def test_a_job_ends_with_its_standard_input(tmp_path: Path) -> None:
    code = "import os\nwhile os.read(0, 1): pass"
    job = start(tmp_path, CPU, 0, (sys.executable, "-S", "-c", code))
    time.sleep(0.1)
    assert job.poll() is None
    job.close()
    assert job.process.wait(10) == 0


def test_drivers_say_that_they_are_there_and_the_dead_are_forgotten(tmp_path: Path) -> None:
    store = Store(tmp_path)
    mine = Presence(store)
    assert not mine.others_here(store)
    code = (
        "import sys, os, signal; from pathlib import Path; from scaling.sweep.guard import Presence\n"
        "from scaling.store.store import Store\n"
        "Presence(Store(Path(sys.argv[1]))); print('here', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout and other.stdout.readline() == b"here\n"
    assert mine.others_here(store) and len(drivers(store)) == 2
    other.kill()
    other.wait()
    assert not mine.others_here(store) and len(drivers(store)) == 1
    Presence(store).end()
    assert list((tmp_path / "drivers").iterdir()) == [mine.path]  # the dead one's file was cleared away
    mine.end()
    assert drivers(store) == []


def test_turns_exclude_each_other_but_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    monkeypatch.setattr(guard, "TURN_SECONDS", 0.3)
    with turn(store):
        began = time.monotonic()
        with turn(store):  # as another driver would: a lock is on an open file, not on a process
            assert 0.25 < time.monotonic() - began < 5
    began = time.monotonic()
    with turn(store):
        assert time.monotonic() - began < 0.2


def test_no_heavy_imports() -> None:
    code = (
        "import sys, scaling.sweep.driver, scaling.sweep.status, scaling.sweep.collect\n"
        "heavy = {'jax', 'pandas', 'pyarrow', 'numpy', 'scaling.train', 'analysis'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
