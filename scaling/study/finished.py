"""A finished study."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scaling.own_analysis import require_own_analysis
from scaling.plan.plan import Plan
from scaling.sweep.collect import Collected

require_own_analysis()

from analysis.findings import Findings  # noqa: E402


@dataclass(frozen=True)
class StudyReport:
    """A finished study: its plan, what became of its runs, its findings, and where they were written to."""

    folder: Path
    plan: Plan
    collected: Collected
    findings: Findings
    files: tuple[Path, ...]

    @property
    def text(self) -> str:
        return self.findings.text + "\n\n" + "\n".join(map(str, self.files))

    def to_json(self) -> dict[str, Any]:
        """Return plain values. A score is that of a forecast frozen before its run was begun; others have
        none."""
        return {
            "folder": str(self.folder),
            "records": self.collected.summary,
            "fit": json.loads(self.findings.fit.to_json()),
            "forecasts": [
                {
                    "forecast": json.loads(trial.forecast.to_json()),
                    "hash": trial.forecast.hash,
                    "origin": trial.origin,
                    "score": vars(trial.score) if trial.score and trial.origin == "frozen" else None,
                    "failure": trial.failure,
                }
                for trial in self.findings.trials
            ],
            **self._variants(),
            "notes": list(self.findings.notes),
            "files": [str(path) for path in self.files],
        }

    def _variants(self) -> dict[str, Any]:
        """The laws of all variants and their comparison; nothing for a study without."""
        analysis = self.findings.analysis
        if analysis.variants is None:
            return {}
        laws = {str(name): one.fit.to_dict() for name, one in analysis.described.items()}
        return {"laws": laws, "variants": analysis.variants.to_dict()}
