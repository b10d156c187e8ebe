"""What ``optimal --spec`` adds: the nearest members of a family as the spec of the next study."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.fits.cost import counted
from analysis.fits.rates import Known
from analysis.fits.result import Fit
from analysis.tables.runs import CONVENTIONS
from scaling.cli import say
from scaling.cli.columns import columns
from scaling.cli.points import Predictor
from scaling.cli.words import count
from scaling.data.index import DataIndex
from scaling.errors import Complaint, UserError
from scaling.plan.data import resolve_data
from scaling.plan.expand import make_plan
from scaling.plan.family_cost import flops_per_token
from scaling.plan.kept import load_spec
from scaling.plan.member import Counting, next_cells, next_study
from scaling.plan.plan import PlannedRun
from scaling.plan.written import spec_text
from scaling.spec.models import Study


@dataclass(frozen=True)
class Following:
    """A study that is to be continued at the optimum, and its data."""

    spec: Path
    study: Study
    index: DataIndex

    @classmethod
    def of(cls, spec: Path) -> Following:
        """Read a spec.

        Raises:
            UserError: every problem of the spec and its data.
        """
        study = load_spec(spec)
        return cls(spec, study, resolve_data(study))

    def cost(self, predictor: Predictor) -> Known | None:
        """FLOPs per token of the family as a function of N, where C is counted so and the family has all
        sizes of the fit; None where it does not."""
        if not isinstance(predictor, Fit) or CONVENTIONS[predictor.convention][1] is not None:
            return None
        context, body = self.study.data.context, _counting(predictor).body
        cost = flops_per_token(self.study.family, self.index.vocab_size, context, body=body)
        n, d, c = (np.array(predictor.data[x]) for x in "NDC")
        if cost is None or not np.isfinite(cost(n)).all():
            return None
        return counted(cost, n, d, c, f"counted from the {self.study.family.kind} of {self.spec}")

    def members(self, predictor: Predictor, frame: pd.DataFrame) -> Members:
        """The members nearest to the N and C of each row, planned.

        Raises:
            UserError: a row has no optimum, or the runs cannot be planned.
        """
        if np.isnan(frame["N"].to_numpy()).any():
            raise UserError(Complaint("no best size to train at this compute", hint="ask for another"))
        counting, asked = _counting(predictor), list(zip(frame["N"], frame["C"], strict=True))
        cells = next_cells(self.study, asked, self.index.vocab_size, counting)
        study, order = next_study(self.study, cells), list(dict.fromkeys(cells))
        runs = make_plan(study, self.index).runs
        nearest = tuple(runs[order.index(cell)] for cell in cells)
        return Members(self.spec, study, nearest, frame, counting, tuple(self._left_out()))

    def _left_out(self) -> Iterator[str]:
        """Say what of the study the next one does not have."""
        if self.study.axes:
            fields = ", ".join(name for axis in self.study.axes for name in axis.fields)
            yield f"its axes ({fields})"
        if self.study.variants:
            yield f"its variants ({', '.join(self.study.variants)})"


@dataclass(frozen=True)
class Members:
    """The next ``study`` and its ``runs``, one for each row of ``frame``; ``left_out`` is what the study
    before it had that this one has not."""

    spec: Path
    study: Study
    runs: tuple[PlannedRun, ...]
    frame: pd.DataFrame
    counting: Counting
    left_out: tuple[str, ...]

    @property
    def plain(self) -> str | None:
        """What recipe is trained, where that is a question."""
        if not self.left_out:
            return None
        return f"of the sections of {self.spec} as they stand, without {' and '.join(self.left_out)}"

    def yaml(self, place: Path | None = None) -> str:
        """The spec of the study, to be written to ``place`` or printed."""
        heading = [f"nearest to the optimum at C = {', '.join(f'{c:g}' for c in self.frame['C'])}"]
        return spec_text(self.study, place, *heading, *([self.plain] if self.plain else ()))

    def write(self, out: Path) -> None:
        """Write the spec to a new file.

        Raises:
            UserError: the file cannot be written.
        """
        try:
            with out.open("x", encoding="utf-8") as file:
                file.write(self.yaml(out))
        except OSError as error:
            raise say.unwritable(f"--out {out}", error, "name a file in a folder that exists") from None

    def rows(self) -> list[dict[str, Any]]:
        """What each run has, and what was asked for."""
        found = []
        for i, run in enumerate(self.runs):
            params = run.params if not self.counting.body else run.params_body
            assert params is not None, "sizes that do not state it are refused before"
            flops = 6 * params * run.run.tokens if self.counting.six else run.flops
            achieved = {"N": params, "D": run.run.tokens, "C": flops}
            rate = run.run.learning_rate
            found.append(
                {"run": run.label, "steps": run.run.steps, "learning_rate": rate}
                | achieved
                | {f"{x}_asked": float(self.frame[x].to_numpy()[i]) for x in "NDC"}
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """The runs, and the spec as text."""
        return {"members": self.rows(), "spec": self.yaml(), "left_out": list(self.left_out)}

    def text(self, out: Path | None) -> str:
        """The runs beside what was asked for; then the spec, or where it was written."""
        header = ("run", "N", "of N*", "D", "of D*", "C", "of C", "steps", "learning rate")
        rows = [
            (
                row["run"],
                *(cell for x in "NDC" for cell in (_short(x, row[x]), f"{row[x] / row[f'{x}_asked']:.3f}x")),
                f"{row['steps']:,}",
                "-" if row["learning_rate"] is None else f"{row['learning_rate']:.4g}",
            )
            for row in self.rows()
        ]
        table = "\n".join(f"  {line}" for line in columns(header, rows).splitlines())
        head = f"  nearest members of the {self.study.family.kind} of {self.spec}, trained for C"
        head += f",\n  {self.plain}" if self.plain else ""
        return f"{head}\n{table}\n\n" + (f"{out}" if out else self.yaml().rstrip())


def _counting(predictor: Predictor) -> Counting:
    size, per_token, _ = CONVENTIONS[predictor.convention]
    return Counting(body=size != "params", six=per_token is not None)


def _short(name: str, value: float) -> str:
    return f"{value:.4g}" if name == "C" else count(value)
