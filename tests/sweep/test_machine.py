from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from scaling.errors import UserError
from scaling.spec.execution import Execution, Mesh
from scaling.store.failure import SHED
from scaling.store.folder import ResultsFolder
from scaling.sweep import guard, machine
from scaling.sweep.executor import StartedJob
from scaling.sweep.guard import Presence, drivers, turn
from scaling.sweep.local import LocalExecutor, make_local
from scaling.sweep.machine import (
    Layout,
    Slot,
    allocated_cpus,
    cpu_quota,
    cpu_slots,
    device_slots,
    find_device,
    launch_environment,
    layout,
    visible_devices,
)

CPU, GPU, TPU = (Layout(device, (Slot(),)) for device in ("cpu", "gpu", "tpu"))


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
    four = launch_environment({}, Layout("cpu", (Slot(),), threads=4))
    assert four["OMP_NUM_THREADS"] == "4" and "XLA_FLAGS" not in four
    forced = Layout("cpu", (Slot(),), forced=True)
    assert launch_environment({}, forced)["JAX_PLATFORMS"] == "cpu"
    assert launch_environment({"JAX_PLATFORMS": "cuda"}, forced)["JAX_PLATFORMS"] == "cuda"


def test_cpu_slots() -> None:
    pins = hasattr(os, "sched_setaffinity")

    def cores(*args: Any) -> list[tuple[int, ...]]:
        return [slot.cores for slot in cpu_slots(*args)]

    assert cores("auto", 1, (2, 5), None) == ([(2,), (5,)] if pins else [(), ()])
    assert cores("auto", 2, (0, 1, 2, 3), None) == ([(0, 1), (2, 3)] if pins else [(), ()])
    assert cores(3, 1, (2, 5), None) == ([(2,), (5,), (2,)] if pins else [()] * 3)
    assert len(cores("auto", 8, (0, 1), None)) == 1
    assert cores("auto", 1, tuple(range(64)), 2.5) == [(), ()]  # others use those cores too


EIGHT = tuple("01234567")


def test_each_slot_sees_its_own_devices() -> None:
    assert device_slots("auto", "gpu", EIGHT) == device_slots(1, "gpu", EIGHT) == (Slot(),)  # one job, all
    eight = device_slots(8, "gpu", EIGHT)
    assert [slot.devices for slot in eight] == [(name,) for name in EIGHT]
    assert {slot.memory for slot in eight} == {None}
    assert [slot.devices for slot in device_slots(3, "gpu", EIGHT)] == [("0", "1"), ("2", "3"), ("4", "5")]
    assert [launch_environment({}, GPU, slot)["CUDA_VISIBLE_DEVICES"] for slot in eight] == list(EIGHT)
    environment = launch_environment({}, TPU, device_slots(4, "tpu", EIGHT)[1])
    assert environment["TPU_VISIBLE_CHIPS"] == "2,3"
    assert environment["TPU_CHIPS_PER_PROCESS_BOUNDS"] == "1,2,1"
    assert "CUDA_VISIBLE_DEVICES" not in launch_environment({}, GPU, Slot())
    with pytest.raises(UserError, match="16 jobs of 1 TPU chips: 8 chips cannot be split so"):
        device_slots(16, "tpu", EIGHT)


def test_jobs_have_as_many_devices_as_the_spec_says() -> None:
    pairs = device_slots("auto", "gpu", EIGHT, 2)
    assert [slot.devices for slot in pairs] == [("0", "1"), ("2", "3"), ("4", "5"), ("6", "7")]
    assert [slot.devices for slot in device_slots("auto", "gpu", EIGHT, 3)] == [
        ("0", "1", "2"),
        ("3", "4", "5"),
    ]
    assert device_slots(1, "gpu", EIGHT, 8) == (Slot(devices=EIGHT),)
    one = device_slots(1, "tpu", EIGHT, 4)
    assert launch_environment({}, TPU, one[0])["TPU_CHIPS_PER_PROCESS_BOUNDS"] == "2,2,1"
    assert "TPU_VISIBLE_CHIPS" not in launch_environment({}, TPU, device_slots(1, "tpu", EIGHT)[0])
    shared = device_slots(3, "gpu", EIGHT, 4)
    assert [slot.devices for slot in shared] == [EIGHT[:4], EIGHT[4:], EIGHT[:4]]
    assert [slot.memory for slot in shared] == [0.45, None, 0.45]
    assert device_slots("auto", "gpu", (), 4) == (Slot(),)  # nobody knows how many there are
    with pytest.raises(UserError, match="this machine has 8"):
        device_slots("auto", "gpu", EIGHT, 16)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_several_devices_of_a_cpu_are_host_devices_with_a_core_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: (2, 3, 4, 5, 6, 7))
    monkeypatch.setattr(machine, "cpu_quota", lambda: None)
    where = layout(Execution(device="cpu", mesh=Mesh(data=2, tensor=2)))
    assert [slot.cores for slot in where.slots] == [(2, 3, 4, 5)] and where.devices == 4
    flags = launch_environment({}, where, where.slots[0])["XLA_FLAGS"]
    assert "--xla_force_host_platform_device_count=4" in flags and "eigen=false" in flags
    two = layout(Execution(device="cpu", devices=3))
    assert [slot.cores for slot in two.slots] == [(2, 3, 4), (5, 6, 7)]
    assert LocalExecutor(two, ()).describe() == "3 cpu devices each"
    plain = layout(Execution(device="cpu"))
    assert LocalExecutor(plain, ()).describe() == "cpu"
    assert plain.devices == 1 and "device_count" not in launch_environment({}, plain)["XLA_FLAGS"]


def test_jobs_that_share_a_device_share_its_memory() -> None:
    slots = device_slots(5, "gpu", ("a", "b"))
    assert [slot.devices for slot in slots] == [("a",), ("b",), ("a",), ("b",), ("a",)]
    assert [slot.memory for slot in slots] == [0.3, 0.45, 0.3, 0.45, 0.3]
    assert device_slots(2, "gpu", ()) == (Slot(memory=0.45),) * 2  # nobody knows how many there are
    name = "XLA_PYTHON_CLIENT_MEM_FRACTION"
    assert launch_environment({}, GPU, slots[0])[name] == "0.3"
    assert launch_environment({}, GPU, Slot())[name] == "0.95" and name not in launch_environment(
        {}, TPU, Slot()
    )
    assert launch_environment({name: ".2"}, GPU, slots[0])[name] == ".2"


def test_devices_are_those_that_the_environment_leaves(tmp_path: Path) -> None:
    for name in ("nvidia10", "nvidia2", "nvidiactl", "accel0", "vfio/1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert visible_devices("gpu", {}, tmp_path) == ("2", "10")
    assert visible_devices("tpu", {}, tmp_path) == ("0", "1")
    assert visible_devices("gpu", {"CUDA_VISIBLE_DEVICES": "3, GPU-ab"}, tmp_path) == ("3", "GPU-ab")
    assert visible_devices("gpu", {}, tmp_path / "none") == ()


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


SLURM = {"SLURM_JOB_ID": "1", "SLURM_CPUS_ON_NODE": "6"}


@pytest.mark.parametrize(
    ("environ", "cpus"),
    [
        ({"SLURM_CPUS_ON_NODE": "6"}, None),  # of a shell that a job started long ago
        (SLURM, 6),
        (SLURM | {"SLURM_CPUS_PER_TASK": "4", "SLURM_TASKS_PER_NODE": "1(x2)"}, 4),  # of 2 threads each
        (SLURM | {"SLURM_CPUS_PER_TASK": "2", "SLURM_TASKS_PER_NODE": "3,1"}, 6),
        ({"SLURM_JOB_ID": "1"}, None),
    ],
)
def test_cpus_of_an_allocation(environ: dict[str, str], cpus: int | None) -> None:
    assert allocated_cpus(environ) == cpus


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_jobs_keep_to_what_slurm_allocated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cpu_quota", lambda: None)
    for name, value in (SLURM | {"SLURM_CPUS_PER_TASK": "2"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(machine, "usable_cores", lambda: (4, 5))
    where = layout(Execution(device="cpu"))
    assert [slot.cores for slot in where.slots] == [(4,), (5,)], "its own cores"
    monkeypatch.setattr(machine, "usable_cores", lambda: tuple(range(8)))
    assert layout(Execution(device="cpu")).slots == (Slot(), Slot()), "others may have these cores"


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


SERVE = """
import json, os, sys
answers, pinned = os.dup(1), getattr(os, "sched_getaffinity", lambda pid: {})(0)
os.dup2(2, 1)
for line in sys.stdin:
    folder = json.loads(line)["folder"]
    print(os.getpid(), pinned, os.getpgid(0) == os.getpid(), file=open(folder + "/log.txt", "a"))
    if os.path.exists(folder + "/die"):
        os._exit(7)
    os.write(answers, json.dumps({"folder": folder, "status": 0}).encode() + b"\\n")
"""


def finish(executor: LocalExecutor, job: StartedJob) -> int:
    while (status := executor.poll(job)) is None:
        time.sleep(0.01)
    executor.close(job)
    return status


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_jobs_of_a_slot_are_served_by_one_pinned_process_until_it_dies(tmp_path: Path) -> None:
    core = max(os.sched_getaffinity(0))
    script = tmp_path / "serve.py"
    script.write_text(SERVE)
    executor = LocalExecutor(Layout("cpu", (Slot((core,)),)), (sys.executable, "-S", str(script)))
    jobs = [tmp_path / name for name in "abc"]
    for folder in jobs:
        folder.mkdir()
    (jobs[1] / "die").touch()
    assert [finish(executor, executor.start(folder, 0)) for folder in jobs] == [0, 7, 0]
    assert executor.start(jobs[0], 0).attempt == 2
    executor.end()
    words = [(folder / "log.txt").read_text().splitlines() for folder in jobs]
    assert f"core {core}: " in words[0][0] and words[0][2].startswith("=== start 2, ")
    pids = [lines[1].split()[0] for lines in words]
    assert pids[0] == pids[1] != pids[2]
    assert all(lines[1].split(maxsplit=1)[1] == f"{{{core}}} True" for lines in words)


def test_jobs_that_share_a_process_are_given_back_when_it_dies(tmp_path: Path) -> None:
    executor = LocalExecutor(CPU, (sys.executable, "-S", "-c", "import sys; sys.stdin.read()"))
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    first, second = (executor.start(folder, 0) for folder in folders)
    assert executor.poll(first) is None
    executor.stop(first, kill=True)
    while executor.poll(second) is None:
        time.sleep(0.01)
    assert [executor.poll(job) for job in (first, second)] == [SHED, SHED]
    executor.close(first)
    executor.close(second)
    executor.end()


STOPPABLE = """
import json, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
for line in sys.stdin:
    if "stop" in json.loads(line):
        sys.exit(130)
"""


def test_behind_a_launcher_jobs_are_asked_to_stop_without_a_signal(tmp_path: Path) -> None:
    """srun would answer it by killing them."""
    several = Layout("cpu", (Slot(),), hosts=2)
    executor = LocalExecutor(several, (sys.executable, "-S", "-c", STOPPABLE))
    job = executor.start(tmp_path, 0)
    executor.stop(job, kill=False)
    executor.stop(job, kill=False)
    assert finish(executor, job) == 130


def test_a_training_process_can_be_asked_to_stop_on_its_standard_input() -> None:
    process = subprocess.Popen([sys.executable, "-m", "scaling.train", "--serve"], stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(b'{"stop": true}\n')
    process.stdin.flush()
    assert process.wait(60) == 130
    process.stdin.close()


def test_a_process_ends_with_its_standard_input(tmp_path: Path) -> None:
    executor = LocalExecutor(CPU, (sys.executable, "-m", "scaling.train"))
    job = executor.start(tmp_path, 0)
    worker = executor._workers[0]
    assert executor.poll(job) is None
    worker.orders.close()
    assert worker.process.wait(timeout=60) == 1
    executor.close(job)


def test_drivers_say_that_they_are_there_and_the_dead_are_forgotten(tmp_path: Path) -> None:
    results = ResultsFolder(tmp_path)
    mine = Presence(results)
    assert not mine.others_here(results)
    code = (
        "import sys, os, signal; from pathlib import Path; from scaling.sweep.guard import Presence\n"
        "from scaling.store.folder import ResultsFolder\n"
        "Presence(ResultsFolder(Path(sys.argv[1]))); print('here', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert other.stdout and other.stdout.readline() == b"here\n"
    assert mine.others_here(results) and len(drivers(results)) == 2
    (note,) = [path for path in (tmp_path / "drivers").iterdir() if path != mine.path]
    elsewhere = json.loads(note.read_text()) | {"updated": "2026-01-01T00:00:00Z"}
    elsewhere["process"]["machine"] = "another"
    (tmp_path / "drivers" / "elsewhere.json").write_text(json.dumps(elsewhere))
    other.kill()
    other.wait()
    assert not mine.others_here(results) and len(drivers(results)) == 1
    Presence(results).end()
    assert list((tmp_path / "drivers").iterdir()) == [mine.path]  # the dead one's file was cleared away
    mine.end()
    assert drivers(results) == []


def test_turns_exclude_each_other_but_not_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = ResultsFolder(tmp_path)
    monkeypatch.setattr(guard, "TURN_SECONDS", 0.3)
    with turn(results):
        began = time.monotonic()
        with turn(results):  # as another driver would: a lock is on an open file, not on a process
            assert 0.25 < time.monotonic() - began < 5
    began = time.monotonic()
    with turn(results):
        assert time.monotonic() - began < 0.2


def test_no_heavy_imports() -> None:
    code = (
        "import sys, scaling.sweep.driver, scaling.sweep.status, scaling.sweep.collect\n"
        "heavy = {'jax', 'pandas', 'pyarrow', 'numpy', 'scaling.train', 'analysis'}\n"
        "print(sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_several_hosts_train_one_job_at_a_time():
    execution = Execution(hosts=2, launcher="srun -N2", device="cpu", devices=4, workers="auto")
    where = layout(execution)
    assert (where.slots, where.devices, where.hosts) == ((Slot(),), 2, 2)
    executor = make_local(execution, ("train",), alone=True)
    assert executor.command == ("srun", "-N2", "train") and executor.slots == 1
    assert executor.describe() == "2 cpu devices each, on 2 hosts"
