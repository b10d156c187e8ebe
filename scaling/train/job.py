"""Train the runs of one job: advance the shared trunk, branch each run off it, evaluate, record.

A branch starts from a copy of the trunk's state and goes through the same compiled program with the same
inputs as a run trained alone, so its result is the same bit for bit.
"""

from __future__ import annotations

import json
import math
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from scaling.counts.params import count_parameters
from scaling.data.index import DataIndex, coverage
from scaling.data.store import Store
from scaling.files import write_json
from scaling.plan.run import Run, canonical_json
from scaling.train.checkpoint import Checkpoints
from scaling.train.curve import CurveLog
from scaling.train.evaluate import Evaluation
from scaling.train.loop import ChunkMetrics, Feed, Program, TrainState, advance, copy_state
from scaling.train.optimizer import hyper_of
from scaling.train.schedule import learning_rates

TRUNK = "trunk"
SCHEMA = 1


class Stopped(Exception):
    """The job was asked to stop; its state is in a checkpoint."""


@dataclass(frozen=True)
class Member:
    """A run of this job that has no record yet."""

    run_id: str
    run: Run
    flops_spent: int


class Job:
    """One process's work on one trunk. ``evaluate`` is built on first use."""

    def __init__(
        self,
        folder: Path,
        members: list[Member],
        program: Program,
        store: Store,
        index: DataIndex,
        evaluate: Callable[[Any], Evaluation],
        stop_asked: Callable[[], bool],
        execution: dict[str, Any],
        environment: dict[str, Any],
    ):
        self.folder, self.runs_folder = folder, folder.parent.parent / "runs"
        self.members = sorted(members, key=lambda member: member.run.branch_step)
        self.program, self.store, self.index, self.evaluate = program, store, index, evaluate
        self.stop_asked, self.execution, self.environment = stop_asked, execution, environment
        self.checkpoints = Checkpoints(folder / "checkpoints")
        self.trunk: tuple[int, TrainState] | None = None
        self.last_saved = time.monotonic()
        self.last_progress = 0.0
        self.resumed = 0
        self.steps_done = 0  # of all this job's branches and trunk, for progress alone

    def run(self) -> int:
        """Train every member; returns how many failed. A failed branch does not stop the others.

        Raises:
            Stopped: asked to stop; what was done is in a checkpoint.
        """
        failed = 0
        for position, member in enumerate(self.members):
            try:
                self._train(member, is_last=position == len(self.members) - 1)
            except (Stopped, KeyboardInterrupt):
                raise
            except Exception as error:
                failed += 1
                self._fail(member, error)
                self.trunk = None
        if not failed and not self.execution.get("keep_final", False):
            self.checkpoints.drop(TRUNK)
        return failed

    def _train(self, member: Member, is_last: bool) -> None:
        run, began = member.run, _now()
        write_json(self.runs_folder / member.run_id / "run.json", json.loads(canonical_json(run)))
        log = CurveLog(self.runs_folder / member.run_id / "metrics.jsonl")
        restored = self.checkpoints.restore(member.run_id, self._blank(run))
        if restored:
            step, state = restored
            self.resumed += 1
            self.steps_done += step - run.branch_step
            log.restart(log.rows(step))
        else:
            step, state = self._reach(member)
            log.restart(CurveLog(self.folder / "trunk.jsonl").rows(step))
            if not is_last:
                state = copy_state(state)
        state = self._advance(member, member.run_id, state, step, run.steps, log)
        self._record(member, state, log, began)
        if self.execution.get("keep_final", False):
            self.checkpoints.save(member.run_id, run.steps, state)
        else:
            self.checkpoints.drop(member.run_id)

    def _reach(self, member: Member) -> tuple[int, TrainState]:
        """The trunk at the member's branch step, from memory, the newest usable checkpoint, or the start."""
        goal, log = member.run.branch_step, CurveLog(self.folder / "trunk.jsonl")
        if self.trunk is None or self.trunk[0] > goal:
            self.trunk = self.checkpoints.restore(TRUNK, self._blank(member.run), at_most=goal)
            self.resumed += self.trunk is not None
            if self.trunk is None:
                self.trunk = 0, self.program.start(member.run.seed)
            self.steps_done += self.trunk[0]
            log.restart(log.rows(self.trunk[0]))
        step, state = self.trunk
        state = self._advance(member, TRUNK, state, step, goal, log)
        self.trunk = goal, state
        return goal, state

    def _blank(self, run: Run) -> TrainState:
        return self.program.start(run.seed)

    def _advance(
        self, member: Member, line: str, state: TrainState, first: int, last: int, log: CurveLog
    ) -> TrainState:
        """Train steps ``first`` to ``last`` of a line; a chunk's metrics are read while the next one runs."""
        run = member.run
        if not state.ok:
            return state
        rows = log.rows(first)
        clock = time.monotonic() - (rows[-1]["wall_time"] if rows else 0.0)
        feed = Feed(
            windows=lambda start, n: self.store.train_batches(run.seed, start, n, run.batch_sequences),
            rates=lambda start, n: learning_rates(run, start, n),
            hyper=hyper_of(run.optimizer),
        )
        pending: tuple[int, ChunkMetrics] | None = None
        step = first
        for step, latest, metrics in advance(self.program, state, feed, first, last):
            state = latest
            if pending and not self._log(member, log, *pending, clock, first):
                pending = None
                break
            pending = step, metrics
            due = time.monotonic() - self.last_saved > self.execution["checkpoint_seconds"]
            if due or self.stop_asked():
                self._log(member, log, *pending, clock, first)
                pending = None
                self.checkpoints.save(line, step, state)
                self.last_saved = time.monotonic()
                if self.stop_asked():
                    raise Stopped
        if pending:
            self._log(member, log, *pending, clock, first)
        self.steps_done += last - first
        return state

    def _log(
        self, member: Member, log: CurveLog, step: int, metrics: ChunkMetrics, clock: float, first: int
    ) -> bool:
        """Append a row; False when the run has diverged."""
        run, values = member.run, jax.device_get(metrics)
        loss, norm = float(values.loss), float(values.grad_norm)
        wall = time.monotonic() - clock
        log.append(
            {
                "step": step,
                "tokens": step * run.batch_tokens,
                "flops": self._flops(run) * step,
                "wall_time": round(wall, 4),
                "train/loss": loss if math.isfinite(loss) else None,
                "train/grad_norm": norm if math.isfinite(norm) else None,
                "train/learning_rate": float(learning_rates(run, step - 1, 1)[0]),
            }
        )
        if time.monotonic() - self.last_progress > 1.0:
            self.last_progress = time.monotonic()
            self._progress(member, step, loss, self.steps_done + step - first)
        return bool(values.ok)

    def _flops(self, run: Run) -> int:
        return run.flops().flops // run.steps

    def _progress(self, member: Member, step: int, loss: float, steps_done: int) -> None:
        trunk = max(m.run.branch_step for m in self.members)
        total = trunk + sum(m.run.steps - m.run.branch_step for m in self.members)
        per_step = self._flops(member.run)
        progress = {
            "run_id": member.run_id,
            "step": step,
            "steps": member.run.steps,
            "job_flops_done": per_step * min(steps_done, total),
            "job_flops_total": per_step * total,
            "loss": loss if math.isfinite(loss) else None,
        }
        write_json(self.folder / "progress.json", progress, durable=False)

    def _record(self, member: Member, state: TrainState, log: CurveLog, began: str) -> None:
        run = member.run
        done, ok = int(state.step), bool(state.ok)
        rows = log.rows(run.steps)
        wall = rows[-1]["wall_time"] if rows else None
        unique, epochs = coverage(run.tokens, self.index)
        result: dict[str, Any] = {
            "status": "ok" if ok else "diverged",
            "status_reason": None if ok else f"loss or gradient not finite at step {done}",
            "loss": None,
            "loss_se_eval": None,
            "bits_per_byte": None,
            "eval_tokens": None,
            "eval_id": self.index.eval_id,
            "train_loss": float(state.smooth_loss) if ok else None,
            "steps": run.steps,
            "tokens": run.tokens,
            "unique_tokens": unique,
            "epochs": epochs,
            "params": _measured_counts(run, state),
            "document_losses": None,
        }
        if ok:
            evaluation = self.evaluate(state.params)
            result |= {
                "loss": evaluation.loss,
                "loss_se_eval": evaluation.loss_se,
                "bits_per_byte": evaluation.loss / math.log(2) / self.index.bytes_per_token,
                "eval_tokens": evaluation.tokens,
                "document_losses": list(evaluation.document_losses),
            }
            log.append(
                {
                    "step": run.steps,
                    "tokens": run.tokens,
                    "flops": self._flops(run) * run.steps,
                    "eval/loss": evaluation.loss,
                }
            )
        execution = {
            "wall_seconds": wall,
            "tokens_per_second": run.tokens / wall if wall and ok else None,
            "cpu_seconds": round(time.process_time(), 3),
            "flops_spent": member.flops_spent,
            "started": began,
            "finished": _now(),
            "resumed": self.resumed,
            **self.environment,
        }
        record = {"schema": SCHEMA, "run_id": member.run_id, "result": result, "execution": execution}
        write_json(self.runs_folder / member.run_id / "record.json", record)
        (self.runs_folder / member.run_id / "error.json").unlink(missing_ok=True)
        print(f"{_now()} {member.run_id} {result['status']} loss {result['loss']}", flush=True)

    def _fail(self, member: Member, error: Exception) -> None:
        text = "".join(traceback.format_exception(error))
        print(text, flush=True)
        exhausted = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
        path = self.runs_folder / member.run_id / "error.json"
        previous = json.loads(path.read_text())["attempt"] if path.exists() else 0
        failure = {
            "schema": SCHEMA,
            "kind": "out_of_memory" if exhausted else "exception",
            "message": f"{type(error).__name__}: {error}",
            "step": None,
            "run_id": member.run_id,
            "attempt": previous + 1,
            "log_tail": text.splitlines()[-20:],
        }
        write_json(path, failure)


def _measured_counts(run: Run, state: TrainState) -> dict[str, int]:
    """The counts, asserted against the arrays that were trained."""
    counts = count_parameters(run.shape)
    measured = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(state.params))
    if measured != counts.total:
        raise AssertionError(f"counted {counts.total} parameters, trained {measured}")
    return {
        "total": counts.total,
        "embedding": counts.embedding,
        "head": counts.head,
        "body": counts.body,
    }


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
