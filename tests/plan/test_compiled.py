"""What jobs hold as compiled, by a compiler that is made up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from scaling.counts.lowering import Lowering
from scaling.counts.memory import memory
from scaling.errors import UserError
from scaling.plan import compiled as module
from scaling.plan.asking import ProbeFailed
from scaling.plan.chosen import JobDevices
from scaling.plan.compiled import ask_compiler, cached_answers, questions, unanswered, with_answers
from scaling.plan.lowering import FULL, Lowered, lower, workload
from scaling.plan.plan import Plan
from scaling.store import machine as here
from tests.plan.studies import plan_of

LARGE: dict[str, Any] = {"family__widths": [32], "recipe__batch_tokens": 2**16}
PLAN = plan_of(**LARGE)
PACKED = plan_of(**LARGE, execution={"pack": 4, "share_trunk": False})
PLAIN = memory(workload(PLAN, PLAN.jobs[0], "gpu"), Lowering()).total


def gpu(room: float) -> JobDevices:
    """Return a device whose jobs may hold so many times what the plain program does."""
    return JobDevices("gpu", memory_bytes=int(room * PLAIN / FULL) + 2)


@dataclass
class Compiler:
    """Says that programs hold ``ratio`` times what arithmetic says."""

    ratio: float
    plan: Plan = PLAN
    asked: list[int] = field(default_factory=list)

    def __call__(self, module: str, name: str, question: Mapping[str, Any], environment: Any) -> str:
        (program,) = question["programs"]
        work, held = workload(self.plan, self.plan.jobs[0], "gpu"), list[int]()
        for given in program["lowerings"]:
            one = TypeAdapter(Lowering).validate_python(given | {"pack": 1})
            held.append(int(self.ratio * memory(work, one).total))
            if held[-1] <= program["limit"]:
                break
        self.asked.append(len(held))
        return json.dumps({"devices": 1, "memory_bytes": None, "held": [held]})


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path))
    return tmp_path / "probes"


def compiled(room: float, compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> Lowered:
    monkeypatch.setattr(module, "ask", compiler)
    lowered = lower(compiler.plan, gpu(room))
    asked = questions(lowered)
    known = cached_answers(asked)
    if missing := unanswered(asked, known):
        known |= ask_compiler(missing, known, None)
    return with_answers(lowered, asked, known)


def test_only_what_may_fill_much_and_may_fit_is_worth_a_question() -> None:
    assert [len(one.jobs) for one in questions(lower(PLAN, gpu(2)))] == [1]
    assert not questions(lower(PLAN, gpu(3.1)))
    assert not questions(lower(PLAN, gpu(0.01))), "far too large"
    assert not questions(lower(PLAN, JobDevices("gpu")))
    cpu = JobDevices("cpu", count=2, memory_bytes=2 * PLAIN + 10**9)
    assert questions(lower(PLAN, cpu)) and not questions(lower(PLAN, replace(cpu, count=1)))
    hosts = plan_of(**LARGE, execution={"hosts": 2, "launcher": "srun"})
    assert not questions(lower(hosts, gpu(2)))


def test_what_fits_as_compiled_is_left_as_it_was_and_asked_once(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = Compiler(0.95)
    made = compiled(1.1, compiler, monkeypatch)
    assert made.largest.lowering == Lowering() and made.largest.compiled == int(0.95 * PLAIN)
    assert not [*made.notes()]
    assert compiled(1.1, compiler, monkeypatch) == made and compiler.asked == [1]
    (file,) = cache.glob("*.json")
    file.write_text("{")
    assert compiled(1.1, compiler, monkeypatch) == made and compiler.asked == [1, 1], "a damaged answer"
    monkeypatch.setattr(here, "machine", lambda: {"cpu": "another"})
    compiled(1.1, compiler, monkeypatch)
    assert compiler.asked == [1, 1, 1]


def test_what_does_not_fit_as_compiled_is_taken_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    made = compiled(1.05, Compiler(1.1), monkeypatch)
    assert made.largest.lowering.micro_batches == 2 and made.largest.fits
    (note,) = made.notes()
    assert "512 of 1024 sequences at a time: in one piece it would hold" in note
    assert "as compiled" in note and "by arithmetic" in note


def test_what_fits_as_compiled_is_not_taken_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lower(PLAN, gpu(0.95)).largest.lowering.micro_batches > 1
    assert compiled(0.95, Compiler(0.9), monkeypatch).largest.lowering == Lowering()
    cut = compiled(0.95, Compiler(0.99), monkeypatch)
    assert cut.largest.lowering == Lowering(), "answered before"


def test_what_fits_in_no_way_as_compiled_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = compiled(1.05, Compiler(5), monkeypatch)
    with pytest.raises(UserError) as caught:
        made.require_fit()
    (problem,) = caught.value.problems
    assert "as compiled" in problem.message and "by arithmetic" in problem.message
    assert "a smaller model" in problem.hint


def test_an_answer_is_that_of_one_member_of_a_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = Compiler(1.0, PACKED)
    made = compiled(2.2, compiler, monkeypatch)
    assert made.largest.lowering == Lowering(pack=2) and made.largest.compiled == 2 * PLAIN
    assert made.largest.limit and made.largest.fits


def test_without_an_answer_arithmetic_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    lowered = lower(PLAN, gpu(1.05))
    assert with_answers(lowered, questions(lowered), {}).chosen == lowered.chosen
    for answer in ("hello", '{"held": [[-1]]}', '{"held": []}'):
        monkeypatch.setattr(module, "ask", lambda *_, answer=answer: answer)
        with pytest.raises(ProbeFailed):
            ask_compiler(questions(lowered), {}, None)
