"""The executors there are, by the name that ``execution.kind`` gives."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Protocol

from scaling.plan.plan import Plan
from scaling.spec.execution import Execution
from scaling.sweep.executor import Executor
from scaling.sweep.local import make_local

TRAIN = (sys.executable, "-m", "scaling.train")
SUPERVISE = (sys.executable, "-m", "scaling.supervisor")


def trains(plan: Plan) -> tuple[str, ...]:
    """Return what trains the jobs of a plan: the built-in trainer, or what supervises one of one's own."""
    return TRAIN if plan.command is None else SUPERVISE


class Factory(Protocol):
    """Makes the executor of a launch; ``alone``: no other driver of the study runs on this machine."""

    def __call__(self, execution: Execution, command: Sequence[str], *, alone: bool) -> Executor: ...


EXECUTORS: dict[str, Factory] = {"local": make_local}


def make_executor(execution: Execution, command: Sequence[str], *, alone: bool) -> Executor:
    """Raises UserError: the machine cannot do what ``execution`` asks for."""
    return EXECUTORS[execution.kind](execution, command, alone=alone)
