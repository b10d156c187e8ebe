"""Weights that runs start from: which they are, where they lie, and whether they fit."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from scaling.counts.shape import Shape, parameter_table
from scaling.errors import Complaint, UserError
from scaling.plan.designs import Wanted
from scaling.run import Run
from scaling.spec.source import Finding
from scaling.store.folder import ID, ResultsFolder
from scaling.store.weights import Dims, dims_of, identity_of

FIELD = ("recipe", "init_from")
NAMED = 3


@dataclass(frozen=True)
class Start:
    """Weights by ``identity`` (part of the run's), in the file or the checkpoint at ``path``."""

    identity: str
    path: Path
    dims: Dims


@dataclass(frozen=True)
class Starts:
    """The weights that recipes name; paths are relative to ``folder``, else to the working directory."""

    folder: Path | None
    _known: dict[str, Start] = field(default_factory=dict[str, Start])

    def of(self, init_from: str | None) -> Start | None:
        """Return the weights that ``recipe.init_from`` names; None where it is left out.

        Raises:
            UserError: there are none, or they cannot be read.
        """
        if init_from is None:
            return None
        if init_from not in self._known:
            of_run = ID.fullmatch(init_from)
            self._known[init_from] = self._of_run(init_from) if of_run else self._of_file(init_from)
        return self._known[init_from]

    def findings(self, kept: Iterable[Wanted]) -> list[Finding]:
        """Find weights that are not there, and those that do not fit a run."""
        seen, findings = set[tuple[str, Shape]](), list[Finding]()
        for w in kept:
            init_from = w.setting.built_in.init_from
            if init_from is not None and (init_from, w.transformer) not in seen:
                seen.add((init_from, w.transformer))
                found = [w.setting.choice.located(finding) for finding in self._wrong(init_from, w)]
                findings += [finding for finding in found if finding not in findings]
        return findings

    def _wrong(self, init_from: str, w: Wanted) -> Iterator[Finding]:
        try:
            start = self.of(init_from)
        except UserError as error:
            for problem in error.problems:
                message = f"{problem.where}: {problem.message}".removeprefix(": ")
                yield Finding(FIELD, message, problem.hint)
            return
        assert start is not None
        wrong = list(misfits(start.dims, w.transformer))
        if wrong:
            more = f" (and {len(wrong) - NAMED} more arrays)" if len(wrong) > NAMED else ""
            message = f"does not fit {w.label}: {'; '.join(wrong[:NAMED])}{more}"
            hint = "start from a run of the same shape, or plan only sizes that have it"
            yield Finding(FIELD, message, hint)

    def _of_file(self, text: str) -> Start:
        path = Path(os.path.expanduser(text))  # never raises, unlike that of a Path
        if self.folder is not None and not path.is_absolute():
            path = self.folder / path
        dims = dims_of(path)
        return Start(identity_of(path), path.absolute(), dims)

    def _of_run(self, run_id: str) -> Start:
        """Find a run with a kept final checkpoint in ``results/`` here or beside the spec."""
        places = [Path("results"), *([self.folder / "results"] if self.folder else [])]
        folders = [path.parents[1].absolute() for place in places for path in place.glob(f"*/runs/{run_id}")]
        for folder in folders:
            results = ResultsFolder(folder)
            record, run = results.record(run_id), results.run(run_id)
            if isinstance(run, Run) and record is not None and record.result.status == "ok":
                kept = results.final_checkpoint(run_id, run.steps)
                if kept is not None:
                    return Start(run_id, kept, _dims(run.shape))
        if folders:
            message = f"run {run_id} in {folders[0]} has no final checkpoint"
            hint = "only a run trained with execution.keep_final: true keeps one"
        else:
            message = f"no folder in results/ has a run {run_id}"
            hint = "runs.csv has run ids; or give the path of weights that `scaling export` wrote"
        raise UserError(Complaint(message, hint=hint))


def misfits(dims: Dims, shape: Shape) -> Iterator[str]:
    """Say of each array how it is not the one that a shape has."""
    needed = _dims(shape)
    for name in sorted(needed.keys() | dims.keys()):
        if name not in dims:
            yield f"{name} is missing"
        elif name not in needed:
            yield f"{name} is not an array of this model"
        elif dims[name] != needed[name]:
            yield f"{name} is {_by(dims[name])}, not {_by(needed[name])}"


def _dims(shape: Shape) -> Dims:
    return {name: parameter.dims for name, parameter in parameter_table(shape).items()}


def _by(dims: tuple[int, ...]) -> str:
    return " x ".join(map(str, dims))
