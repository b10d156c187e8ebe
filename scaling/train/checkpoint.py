"""Checkpoints of a job's trunk and of its branches, through Orbax (written aside, then renamed)."""

from __future__ import annotations

import shutil
from pathlib import Path

import orbax.checkpoint as ocp

from scaling.train.loop import TrainState

KEPT = 2


class Checkpoints:
    """The last :data:`KEPT` states of each *line* of a job: ``trunk``, or the run id of a branch."""

    def __init__(self, folder: Path):
        self.folder = folder.resolve()

    def save(self, line: str, step: int, state: TrainState) -> None:
        """Nothing happens where that step is saved already: equal steps of a line are equal states."""
        with self._manager(line) as manager:
            if step not in manager.all_steps():
                manager.save(step, args=ocp.args.StandardSave(state._asdict()), force=True)

    def restore(
        self, line: str, abstract: TrainState, at_most: int | None = None
    ) -> tuple[int, TrainState] | None:
        """The newest (step, state) of a line, with the shapes and shardings of ``abstract``; None: nothing
        there. ``at_most`` passes over states after that step."""
        if not (self.folder / line).is_dir():
            return None
        with self._manager(line) as manager:
            steps = [step for step in manager.all_steps() if at_most is None or step <= at_most]
            if not steps:
                return None
            restored = manager.restore(max(steps), args=ocp.args.StandardRestore(abstract._asdict()))
            return max(steps), TrainState(**restored)

    def drop(self, line: str) -> None:
        shutil.rmtree(self.folder / line, ignore_errors=True)

    def _manager(self, line: str) -> ocp.CheckpointManager:
        options = ocp.CheckpointManagerOptions(
            max_to_keep=KEPT, create=True, enable_async_checkpointing=False
        )
        return ocp.CheckpointManager(self.folder / line, options=options)
