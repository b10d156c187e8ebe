"""Mutated specs through what ``scaling plan`` does: a plan, or problems with their places, and soon."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as hypothesis_seed

from scaling.cli.plan_text import plan_json, plan_text
from scaling.errors import UserError
from scaling.plan.bill import make_bill
from scaling.plan.chosen import JobDevices
from scaling.plan.expand import plan_spec
from scaling.plan.lowering import lower
from scaling.plan.plan import Plan
from scaling.plan.probe import probe_runs
from scaling.spec.load import load_study, study_from_dict
from scaling.spec.models import Study
from tests.spec.mutants import LONGEST, Mutant, mutants

CPU_SECONDS = 5.0
ROOT = Path(__file__).parents[2]
BASES = (*sorted((ROOT / "experiments").glob("*.yaml")), ROOT / "tests/study/miniature.yaml")
# Of the file as a whole; everything else has a line.
WHOLE_FILE = ("is empty", "is larger than", "broken YAML")


class TooLong(BaseException):
    """Raised by the timer into what is running; not an Exception, so that nothing takes it for its own."""


@dataclass
class Tally:
    """What became of the mutants tried."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    messages: set[str] = field(default_factory=set[str])
    failures: list[tuple[Mutant, str]] = field(default_factory=list[tuple[Mutant, str]])
    slowest: float = 0.0

    @property
    def tried(self) -> int:
        return sum(self.outcomes.values())


def check(mutant: Mutant, file: Path, tally: Tally) -> None:
    """Try one mutant, as the file ``file``."""
    file.write_bytes(mutant.content)
    outcome, seconds = _timed(lambda: _outcome(mutant, file, tally))
    if seconds > CPU_SECONDS:  # the first time may have built a token store, which is kept
        outcome, seconds = _timed(lambda: _outcome(mutant, file, tally))
    if seconds > CPU_SECONDS:
        outcome = f"{seconds:.1f} CPU s"
    tally.slowest = max(tally.slowest, seconds)
    allowed = outcome in ("plan", "refused")
    tally.outcomes[mutant.kind, outcome if allowed else "FAILED"] += 1
    if not allowed:
        tally.failures.append((mutant, outcome))


def _timed(action: Callable[[], str]) -> tuple[str, float]:
    began = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, 4 * CPU_SECONDS)
    try:
        outcome = action()
    except TooLong:
        outcome = "stopped"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return outcome, time.process_time() - began


def _outcome(mutant: Mutant, file: Path, tally: Tally) -> str:
    try:
        study, plan = plan_spec(file, mutant.overrides)
        return _wrong_plan(study, plan) or "plan"
    except UserError as error:
        tally.messages.update(re.sub(r"'.*?'|[0-9][0-9.e+]*", "*", p.message) for p in error.problems)
        return _wrong_error(error, file) or "refused"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]


def _wrong_plan(study: Study, plan: Plan) -> str:
    """What is wrong with a plan that was accepted, if anything."""
    if study_from_dict(study.model_dump(mode="json")) != study:
        return "the study is not what is written in study.yaml"
    if any(run.run.steps < 1 or run.flops < 1 for run in plan.runs) or len(plan.by_id) != len(plan.runs):
        return "a plan with empty or repeated runs"
    if len(plan.runs) <= 500:  # what the command does with it
        lowered = lower(plan, JobDevices("cpu", memory_bytes=10**9, jobs=2))
        bill = make_bill(plan, lowered, None, 2)
        text = json.dumps(plan_json(plan, lowered, bill), allow_nan=False)
        if (
            Plan.from_json({k: v for k, v in json.loads(text).items() if k in {"schema", *Plan.model_fields}})
            != plan
        ):
            return "plan.json does not give the plan back"
        plan_text(plan, lowered, bill)
        probe_runs(lowered)
    return ""


def _wrong_error(error: UserError, file: Path) -> str:
    """What is wrong with an explanation, if anything."""
    for p in error.problems:
        whole = p.where == str(file) and p.message.startswith(WHOLE_FILE)
        if not (
            whole or p.where.startswith("--set ") or re.fullmatch(re.escape(str(file)) + r":\d+:\d+", p.where)
        ):
            return f"a problem without a line: {p.where!r}: {p.message}"
        if not p.message or len(p.message) > 1000 or not (p.message + p.hint + p.where).isprintable():
            return f"not one printable line: {p.message[:200]!r}"
    return "" if error.problems else "no problem is named"


def _bases() -> list[str]:
    """The shipped specs as they are, and with every field that has a default (JSON is YAML)."""
    full = [json.dumps(load_study(path).model_dump(mode="json", exclude_none=True)) for path in BASES]
    return [path.read_text() for path in BASES] + full


def fuzz(count: int, seed: int, folder: Path, largest: int = LONGEST) -> tuple[Tally, list[Mutant]]:
    """Try ``count`` mutants, written to ``folder`` one after the other; also returns them.

    Token stores go to ``$SCALING_CACHE``.
    """
    tally, tried = Tally(), list[Mutant]()

    @hypothesis_seed(seed)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.large_base_example,
        ],
    )
    @given(mutants(_bases(), largest))
    def run(mutant: Mutant) -> None:
        tried.append(mutant)
        if len(tried) % 500 == 0:
            print(f"{len(tried)} mutants, {len(tally.failures)} failures", file=sys.stderr, flush=True)
        check(mutant, folder / "mutant.yaml", tally)

    def stop(*_: Any) -> None:
        raise TooLong

    before = signal.signal(signal.SIGPROF, stop)
    try:
        run()
    finally:
        signal.signal(signal.SIGPROF, before)
    return tally, tried
