"""Other designs for experiments/quickstart.yaml at the same predicted time: what the planner expects of each,
and what came of training some with other seeds.

    python benchmarks/quickstart_designs.py [--design NAME ...]                        # plans
    python benchmarks/quickstart_designs.py --design NAME --train 1 2 3 --out FOLDER   # studies, minutes each
    python benchmarks/quickstart_designs.py --score FOLDER

A design changes sizes, horizons and seeds of the fitted runs; recipe, held-out run (width 80, 2.4e12 FLOPs)
and noise runs stay. Time is predicted at one speed for all sizes, 6e10 FLOP/s. Repetition k trains with seeds
2 k and 2 k + 1; the held-out run is trained with the present design alone, and its mean over all repetitions
is what every forecast is compared with. Widths are halves of 90 % intervals.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import analysis

SPEC = Path(__file__).resolve().parents[1] / "experiments" / "quickstart.yaml"
SPEED = "6e10"  # FLOP/s
SIZES = (32, 48, 72, 96, 128)
MANY = (32, 40, 48, 56, 64, 72, 80, 96, 112, 128)
TARGET = {"width": 80, "flops": 2.4e12}
NUMBERS = ("runs", "PFLOP", "seconds", "E", "alpha", "beta", "N*", "law", "forecast")


@dataclass(frozen=True)
class Design:
    """``widths`` of the family, fields of ``design``, and so many ``seeds`` of each cell."""

    widths: tuple[int, ...]
    design: dict[str, Any]
    seeds: int = 2

    def settings(self, repetition: int, *, hold_out: bool) -> list[str]:
        """It as arguments of the command line."""
        seeds = [{"init": 2 * repetition + i, "order": "by-size"} for i in range(2)]
        again = [101 + 10 * repetition, 102 + 10 * repetition]
        values = {
            "family.widths": self.widths,
            "design": self.design,
            "seeds": seeds[: self.seeds],
            "noise": {"width": 72, "flops": 8e11, "seeds": again},
            "holdout": [TARGET | {"seed": seed} for seed in seeds] if hold_out else [],
        }
        return [part for key, value in values.items() for part in ("--set", f"{key}={json.dumps(value)}")]


def isoflop(*budgets: float) -> dict[str, Any]:
    return {"kind": "isoflop", "budgets": budgets, "min_steps": 880}


def optimal(runs: int) -> dict[str, Any]:
    return {"kind": "optimal", "budget": 1.65e13, "compute": 2.4e12, "runs": runs, "min_steps": 880}


DESIGNS = {
    "present": Design(SIZES, isoflop(1.7e11, 2.8e11, 4.8e11, 8e11)),
    "nine-sizes": Design((32, 40, 48, 56, 72, 80, 96, 112, 128), isoflop(1.9e11, 3.2e11, 5.5e11, 9e11), 1),
    "eight-budgets": Design(SIZES, isoflop(2e11, 2.6e11, 3.3e11, 4.2e11, 5.3e11, 6.7e11, 8.5e11, 1.08e12), 1),
    "smaller-sizes": Design((24, 32, 48, 64, 96), isoflop(1.7e11, 2.8e11, 4.8e11, 8e11)),
    "three-budgets": Design(SIZES, isoflop(1.7e11, 4.4e11, 1.15e12)),
    "three-budgets-wider": Design((24, 40, 64, 96, 128), isoflop(1.7e11, 4.4e11, 1.15e12)),
    "to-0.6-of-target": Design((32, 40, 56, 72, 96, 128), isoflop(1.7e11, 3.5e11, 7.2e11, 1.5e12), 1),
    "grid": Design((32, 48, 72, 96), {"kind": "grid", "tokens": [1e5, 2.5e5, 6e5, 1.5e6]}),
    "rays": Design((32, 48, 72, 96), {"kind": "ladder", "multiples": [0.5, 2, 8]}),
    "optimal": Design(MANY, optimal(36), 1),
    "optimal-two-seeds": Design(MANY, optimal(20)),
}


def scaling(command: str, design: Design, repetition: int, *more: str, hold_out: bool = True) -> str:
    line = [sys.executable, "-m", "scaling", command, str(SPEC), *more]
    line += design.settings(repetition, hold_out=hold_out)
    return subprocess.run(line, check=True, stdout=subprocess.PIPE, text=True).stdout


def planned(design: Design) -> dict[str, float]:
    """What a plan says of a design, by ``NUMBERS``: ``law`` and ``forecast`` are of the held-out run."""
    plan = json.loads(scaling("plan", design, 0, "--json", "--no-probe", "--speed", SPEED))
    (found,) = plan["identification"]["expected"]
    half = {one["name"].partition("(")[0]: one["half_width"] for one in found["quantities"]}
    flops = [run["flops"] for run in plan["table"] if run["role"] == "fit"]
    at_target = next(x for x in found["quantities"] if x["name"].startswith("loss(w80"))["half_width"]
    values = (
        len(flops),
        sum(flops) / 1e15,
        3600 * plan["bill"]["device_hours"],
        *(half[x] for x in NUMBERS[3:7]),
    )
    return dict(zip(NUMBERS, (*values, at_target, found["forecast"]["half_width"]), strict=True))


def scores(folder: Path) -> pd.DataFrame:
    """A row per study in ``folder``: what its fit and its forecast of the held-out run came to."""
    studies = {path.parent.name: pd.read_csv(path) for path in sorted(folder.glob("*/runs.csv"))}
    held = pd.concat([runs[runs["role"] == "holdout"] for runs in studies.values()])
    measured, target = held["loss"].mean(), held.iloc[[0]]
    print(f"held-out run: mean {measured:.4f} of {len(held)}, standard deviation {held['loss'].std():.4f}")
    rows = []
    for name, runs in studies.items():
        fit = analysis.fit("chinchilla", runs)
        (ahead,) = fit.predict(target).frame.to_dict("records")
        ends = {x: interval for x, (_, interval) in fit.estimates().items()}
        rows.append({
            "design": name.rpartition("-")[0], "repetition": name.rpartition("-")[2],
            "error": ahead["forecast"] / measured - 1,
            "inside": bool(ahead["new_low"] <= measured <= ahead["new_high"]),
            "forecast": np.log(ahead["new_high"] / ahead["new_low"]) / 2,
            "law": np.log(ahead["high"] / ahead["low"]) / 2,
            **{x: (ends[x].high - ends[x].low) / 2 for x in ("E", "alpha", "beta", "a")},
            "identified": ", ".join(x for x, verdict in fit.identified.items() if verdict.verdict == "yes"),
        })  # fmt: skip
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--design", action="append", choices=[*DESIGNS])
    parser.add_argument("--train", type=int, nargs="+", metavar="REPETITION")
    parser.add_argument("--out", type=Path, default=Path("results"))
    parser.add_argument("--score", type=Path, metavar="FOLDER")
    asked = parser.parse_args()
    if asked.score:
        print(scores(asked.score).to_string(index=False, float_format="{:.4f}".format))
        return
    for name in asked.design or DESIGNS:
        for repetition in asked.train or ():
            results = asked.out / f"{name}-{repetition}"
            hold_out = name == "present"
            scaling("run", DESIGNS[name], repetition, "--results", str(results), hold_out=hold_out)
        if not asked.train:
            found = planned(DESIGNS[name])
            print(f"{name:20}", *(f"{key} {value:.3g}" for key, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
