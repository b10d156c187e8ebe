"""One job, from its ``job.json`` to the records of its runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import cast

import jax
from jax.sharding import Mesh

from scaling.chunks import auto_chunk_steps
from scaling.counts.lowering import Kernel
from scaling.data.index import index_of
from scaling.data.store import Windows, open_windows
from scaling.errors import Complaint, UserError
from scaling.files import clear_leftovers, write_json
from scaling.model.roles import Params
from scaling.store.failure import FULL, SHED, STOPPED, is_disk_full, kind_of, write_failure
from scaling.store.folder import is_recorded
from scaling.store.lease import Lease, LostLease
from scaling.store.records import JobEnvironment, JobRun, JobSpec, PlanData
from scaling.train.averages import decays_of
from scaling.train.environment import describe, require_precision, use_compilation_cache
from scaling.train.evaluate import Evaluation, make_evaluator
from scaling.train.feed import Feed, Way, best_way, put_tokens
from scaling.train.hosts import ALONE, Hosts
from scaling.train.job import Stopped, TrunkTrainer
from scaling.train.kernels import attention_kernel
from scaling.train.lanes import Fetch, Lane
from scaling.train.pack import Asked
from scaling.train.peak import PeakMemory
from scaling.train.process import PackFailed, Relieved, StopRequest, Wanted, Watchdog
from scaling.train.program import Blueprint, Program, make_program
from scaling.train.reevaluate import reevaluate
from scaling.train.relief import Relief
from scaling.train.workbench import Workbench

KEPT = 4  # programs and texts that a process keeps between jobs


@dataclass(frozen=True)
class Tools:
    """What a program and a text are worked with, each made when it is first needed: text may be put on the
    device, the evaluator is compiled."""

    program: Program
    windows: Windows
    hosts: Hosts
    place: Callable[[Windows, Mesh], jax.Array]

    @cached_property
    def feed(self) -> Feed:
        way = self.hosts.agree(partial(best_way, self.program, self.windows), Way)
        return Feed(self.program, self.windows, way, self.place)

    @cached_property
    def evaluator(self) -> Callable[[Params], Evaluation]:
        return make_evaluator(self.program, self.windows)


class Shop:
    """What a process keeps from one job to the next: compiled programs, opened text, and the tools for
    both."""

    def __init__(self, hosts: Hosts = ALONE) -> None:
        self.hosts = hosts
        use_compilation_cache()
        self.memory = PeakMemory()
        self.program = lru_cache(KEPT)(make_program)
        self._windows = lru_cache(KEPT)(lambda data: load_data(PlanData.model_validate_json(data)))
        self._tools = lru_cache(KEPT)(self._open)
        self._tokens = lru_cache(1)(put_tokens)

    def forget(self) -> None:
        """Give back the memory of programs and of text on the device."""
        self.program.cache_clear()
        self._tools.cache_clear()
        self._tokens.cache_clear()

    def windows(self, data: PlanData) -> Windows:
        return self._windows(data.model_dump_json(exclude_unset=True))

    def feed(self, blueprint: Blueprint, data: PlanData) -> Feed:
        return self._tools(blueprint, data.model_dump_json(exclude_unset=True)).feed

    def evaluate(self, blueprint: Blueprint, data: PlanData, params: Params) -> Evaluation:
        return self._tools(blueprint, data.model_dump_json(exclude_unset=True)).evaluator(params)

    def _open(self, blueprint: Blueprint, data: str) -> Tools:
        return Tools(self.program(blueprint), self._windows(data), self.hosts, self._tokens)


def work(
    folder: Path,
    job: JobSpec,
    lease: Lease,
    stop: StopRequest,
    shop: Shop,
    alone: Callable[[], bool] = lambda: True,
) -> Generator[Wanted | Asked | None, Lane | Fetch | None, int]:
    """Train, or evaluate again, what the job asks for: yields what it wants of its process and is sent a
    lane; then chunks, and is sent their metrics. Returns the exit status.

    Args:
        folder: of the job.
        job: its job.json.
        lease: held by this process.
        stop: asked by a signal.
        shop: of this process.
        alone: tells whether the process has no other job.

    Raises:
        LostLease: another process works on this job now.
        PackFailed: the job must start again from its checkpoints.
        Relieved: the same, in smaller pieces.
    """
    runs_folder = folder.parent.parent / "runs"
    members = list(job.runs)
    if job.task != "reevaluate":
        members = [member for member in members if not is_recorded(runs_folder / member.run_id, lease)]
    if not members:
        return 0
    lease.check()
    if alone():
        shop.memory.begin()
    for place in (folder, *(runs_folder / member.run_id for member in members)):
        clear_leftovers(place)
    relief = Relief(folder, job.execution.lowering, members[0].run, lease, shop.hosts)
    shop.hosts.on_relief(relief.write)
    watchdog = Watchdog(54 * job.execution.timeout_minutes)  # a little before its driver kills it
    try:
        return (yield from _work(folder, job, members, relief, stop, shop, watchdog))
    except Stopped:
        print("stopped as asked; a relaunch resumes from the checkpoint", flush=True)
        return STOPPED
    except (LostLease, PackFailed, Relieved):
        raise
    except Exception as error:  # before any run: data, compiling, placing the program
        shop.hosts.hold(error)
        lease.check()
        if kind_of(error) == "out_of_memory" and not alone():
            print(f"no memory beside the other jobs of this process, given back: {error}", flush=True)
            return SHED
        relief.after(error)
        write_failure(runs_folder / members[0].run_id, folder, error, None)
        return FULL if is_disk_full(error) else 1
    finally:
        watchdog.end()


def _work(
    folder: Path,
    job: JobSpec,
    members: list[JobRun],
    relief: Relief,
    stop: StopRequest,
    shop: Shop,
    watchdog: Watchdog,
) -> Generator[Wanted | Asked | None, Lane | Fetch | None, int]:
    windows = shop.windows(job.data)
    run, environment = members[0].run, describe()
    require_precision(run.precision)
    chunk_steps = job.execution.chunk_steps or auto_chunk_steps(run.flops_per_step)
    kernel = shop.hosts.agree(partial(attention_kernel, run.shape, run.precision), Kernel)
    began = time.process_time()
    lowering = replace(relief.now, attention=kernel, pack=1)
    blueprint = Blueprint.of(run, chunk_steps, decays_of(members), lowering)
    program = shop.program(blueprint)
    relief.lease.check()
    seen = JobEnvironment(**environment.model_dump(), compile_seconds=time.process_time() - began)
    write_json(folder / "env.json", seen.to_json())
    bench = Workbench(
        folder=folder,
        lease=relief.lease,
        relief=relief,
        program=program,
        windows=windows,
        evaluate=partial(shop.evaluate, blueprint, job.data),
        stop_asked=lambda: shop.hosts.stop_asked(stop),
        execution=job.execution,
        environment=environment,
        hosts=shop.hosts,
        watchdog=watchdog,
        memory=shop.memory,
    )
    if job.task == "reevaluate":
        return reevaluate(bench, members)
    pack = (
        job.execution.lowering.pack if shop.hosts.count == 1 else 1
    )  # jobs come to each host in its own time
    lane = cast(Lane, (yield Wanted(program, pack)))
    trainer = TrunkTrainer(bench, members, job.branch_steps, shop.feed(blueprint, job.data))
    failed = yield from cast(Generator[Asked | None, Lane | Fetch | None, int], trainer.work(lane))
    return FULL if trainer.disk_full else int(failed > 0)


def load_data(data: PlanData) -> Windows:
    """Return the data of a job: its stores are named by what is in them.

    Raises:
        UserError: a store is missing, damaged or cannot be read.
    """
    if data.content is None:
        raise UserError(Complaint("planned by an earlier version", "job.json", "run the study again"))
    try:
        return open_windows(index_of(data.content, data.context))
    except OSError as error:
        raise UserError(Complaint(f"the prepared data cannot be read: {error}", hint="run again")) from None
