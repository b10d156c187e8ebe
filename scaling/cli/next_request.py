"""What ``next`` rests on: a table, the study whose family is offered, and where the spec goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from analysis.laws.lookup import LAW, require
from analysis.planning.target import Target
from analysis.tables.loading import load
from scaling.cli import say
from scaling.cli.arguments import number, pairs, require_positive, require_within, split
from scaling.cli.gathering import Gathering
from scaling.design.following import Wish, next_runs
from scaling.design.proposal import Following
from scaling.errors import Complaint, UserError
from scaling.plan.kept import load_spec
from scaling.plan.plan import Plan, load_plan
from scaling.spec.models import Study
from scaling.store.folder import ResultsFolder

INPUTS = {"params": "N", "tokens": "D", "flops": "C"}
NAME = "next.yaml"


def asked_next(
    source: Path,
    *,
    compute: float | None,
    at: str | None,
    spec: Path | None,
    budget: float | None,
    runs: int,
    laws: tuple[str, ...],
    goal: Any,
    noise: float | None,
    out: Path | None,
    reading: Callable[[], Mapping[str, Any]],
) -> tuple[Following, Path | None]:
    """Choose the runs; and the results folder that they extend, None where they are a study of their own.

    Raises:
        AnalysisError: the table cannot be used.
        UserError: all that is wrong with what is asked.
    """
    numbers = {"--budget": (budget, "1e20"), "--noise": (noise, "0.005")}
    gathering = Gathering()
    gathering.tried(lambda: require_positive(numbers))
    gathering.tried(lambda: require_within({"--runs": (runs, 1, 100)}))
    gathering.tried(lambda: _require_choice(goal, out))
    for law in laws:
        gathering.tried(partial(require, law))
    gathering.tried(lambda: _require_compute(at, goal))
    target = gathering.tried(lambda: _target(compute, at))
    there = source.exists()
    if not there:
        gathering.problems.append(
            Complaint("is not there", str(source), "name a results folder, or a table of runs")
        )
    found = gathering.tried(lambda: _study(source, spec)) if there or spec else None
    table = gathering.tried(lambda: load(source, **reading())) if there else None
    gathering.settle()
    assert target and found and table is not None, "else there is a problem"
    (study, plan), wish = found, Wish(target, budget, runs, laws or (LAW,), goal, noise)
    return next_runs(study, table, wish, plan), source if plan else None


def _require_choice(goal: Any, out: Path | None) -> None:
    """Raises UserError: there is no such goal, or the file for the spec is there already."""
    problems = list[Complaint]()
    if goal not in ("loss", "size"):
        problems.append(Complaint(f"--goal {goal}: is neither loss nor size", hint="leave it out for loss"))
    if out is not None and (out.exists() or not out.absolute().parent.is_dir()):
        what = "exists already" if out.exists() else "its folder is not there"
        problems.append(Complaint(f"--out {out}: {what}", hint="name a new file in a folder that exists"))
    if problems:
        raise UserError(*problems)


def _require_compute(at: str | None, goal: Any) -> None:
    """Raises UserError: N* is wanted, and a run is given."""
    if at is not None and goal == "size":
        hint = "give --compute 1e20 in its place, or --goal loss"
        raise UserError(
            Complaint(f"--goal size: N* is that of a compute, and --at {at} is one run", hint=hint)
        )


def _study(source: Path, spec: Path | None) -> tuple[Study, Plan | None]:
    """The study whose family is offered, and the plan of the results that are extended."""
    if spec is not None:
        return load_spec(spec), None
    folder = ResultsFolder(source)
    if not source.is_dir() or not folder.spec.exists():
        hint = "give the study whose family is offered: --spec study.yaml"
        raise UserError(Complaint("a table knows no family of models", str(source), hint))
    if not folder.plan.exists():
        say.note(f"{source} has no plan.json, so these runs are a study of their own, like {folder.spec}")
        return load_spec(folder.spec), None
    return load_spec(folder.spec), load_plan(folder)


def _target(compute: float | None, at: str | None) -> Target:
    if (compute is None) == (at is None):
        what = "--compute, --at: neither is given" if compute is None else "--compute and --at: two targets"
        raise UserError(Complaint(what, hint="give --compute 1e20, or --at params=7e9,tokens=1.4e11"))
    require_positive({"--compute": (compute, "1e20")})
    return Target.at_compute(compute) if compute is not None else _run(at or "")


def _run(text: str) -> Target:
    given = pairs(split(text), "--at", "--at params=7e9,tokens=1.4e11")
    inputs, wrong = dict[str, float](), list[Complaint]()
    for name, value in given.items():
        parsed = number(value)
        if parsed is None or not 0 < parsed < float("inf"):
            hint = "such as params=7e9,tokens=1.4e11"
            wrong.append(Complaint(f"--at {name}={value}: must be a number above 0", hint=hint))
        else:
            inputs[INPUTS.get(name, name)] = parsed
    if wrong:
        raise UserError(*wrong)
    if {"N", "D"} <= set(inputs) and "C" not in inputs:
        inputs["C"] = 6 * inputs["N"] * inputs["D"]
    return Target(inputs, text)


def write_spec(found: Following, folder: Path | None, out: Path | None) -> Path | None:
    """Write the spec to ``out``, or into the results folder that it extends; None: nowhere.

    Raises:
        UserError: the file cannot be written, or ``out`` is there already.
    """
    place = out or (folder / NAME if folder else None)
    if place is None:
        return None
    try:
        with place.open("x" if out else "w", encoding="utf-8") as file:
            file.write(found.yaml(place))
    except OSError as error:
        raise say.unwritable(f"--out {place}", error, "name a new file in a folder that exists") from None
    return place
