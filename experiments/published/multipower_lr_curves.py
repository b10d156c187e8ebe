"""The multi-power law of loss curves (Luo et al. 2025, arXiv:2503.12811): three schedules predict six others.

Data: github.com/thu-yao-01-luo/MultiPowerLaw at 8da9f1902602f3391b971a811e3cc51604541769 (MIT),
loss_curve_repo/csv_{25,100,400}/*.csv as multipower_lr_curves/runs.csv: model_size_M, schedule, step, lr (of
that update, counted from 0, where the warmup has rate 0), loss, split (train: cosine_24000, constant_24000,
wsdcon_9; test: the other six). Rates of updates between are rebuilt as in src/lr_schedules.py. Published
parameters: src/config.py; test metrics: README.md, means over the six test curves.

One fit takes 10 to 20 s of CPU, so all take longer than other scripts: each of some 5,000 values of the
objective, with exact derivatives in 7 parameters, sums all changes of the rate so far at 437 updates.

    python experiments/published/multipower_lr_curves.py [FOLDER] [--json]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from verdicts import SLACK, Verdict, objective, run

from analysis import CURVE_LAWS, best_schedule, fit

LAW = CURVE_LAWS["multi-power"]
WARMUP, PEAK, END = 2160, 3e-4, 3e-5
NAMES = ("L0", "A", "alpha", "B", "C", "beta", "gamma")
METRICS = ("R2", "MAE", "RMSE", "PredE", "WorstE")
# millions of parameters -> the published point, its test metrics, the lowest training objective known before
PUBLISHED = {
    25: ([3.04045406, 0.52468604, 0.50786857, 363.78751622, 2.06560812, 0.58279013, 0.64142257],
         [".9988", ".00376", ".00465", ".00110", ".00409"], 0.000138433),
    100: ([2.6514477, 0.60115152, 0.45295811, 437.9464276, 2.13245612, 0.59785199, 0.65523644],
          [".9983", ".00435", ".00592", ".00142", ".00583"], 0.0000213315),
    400: ([2.37474466, 0.65421216, 0.42878731, 523.42464371, 2.02462735, 0.59350493, 0.63472457],
          [".9978", ".00484", ".00730", ".00168", ".00995"], 0.0000788348),
}  # fmt: skip


def rates(name: str) -> np.ndarray:
    """Of updates 1, 2, ...: the first of their array, at rate 0, changes nothing and is left out."""
    kind, *numbers = name.split("_")
    rising = np.linspace(0, PEAK, WARMUP)
    if kind == "wsdcon":
        return np.concatenate([rising, np.full(8000 - WARMUP, PEAK), np.full(8000, int(numbers[0]) * 1e-5)])[
            1:
        ]
    start, total = (WARMUP, int(numbers[0])) if len(numbers) == 1 else (int(numbers[0]), int(numbers[1]))
    past = np.arange(total - start) / (total - start)
    falling = {
        "constant": np.full(total - start, PEAK),
        "cosine": END + 0.5 * (PEAK - END) * (1 + np.cos(np.pi * past)),
        "wsd": PEAK ** (1 - past) * END**past,
        "wsdld": PEAK * (1 - past) + END * past,
    }[kind]
    return np.concatenate([rising, np.full(start - WARMUP, PEAK), falling])[1:]


def metrics(rows: pd.DataFrame, predicted: np.ndarray) -> list[float]:
    """The five of the paper, means over curves: R2, mean absolute and root mean square error, mean and worst
    relative error."""
    found = []
    for _, curve in rows.assign(error=rows["loss"] - predicted).groupby("schedule"):
        error, loss = curve["error"], curve["loss"]
        relative = error.abs() / loss
        r2 = 1 - (error**2).sum() / ((loss - loss.mean()) ** 2).sum()
        found.append([r2, error.abs().mean(), (error**2).mean() ** 0.5, relative.mean(), relative.max()])
    return np.mean(found, axis=0).tolist()


def as_printed(value: float, published: str) -> str:
    return f"{value:.{len(published) - 1}f}".lstrip("0")


def verdicts(folder: Path) -> Iterator[Verdict | str]:
    table = pd.read_csv(folder / "runs.csv")
    schedules = {name: rates(name) for name in table["schedule"].unique()}
    logged = [
        abs(schedules[s][t - 1] - lr)
        for s, t, lr in table[["schedule", "step", "lr"]].itertuples(index=False)
    ]
    yield Verdict(
        "rebuilt rates, largest error", "0", f"{max(logged):.1e}", "below 1e-12", max(logged) < 1e-12
    )
    for size, (point, published, best_known) in PUBLISHED.items():
        yield from one_size(
            size, table[table["model_size_M"] == size], schedules, point, published, best_known
        )


def one_size(
    size: int,
    rows: pd.DataFrame,
    schedules: Mapping[str, np.ndarray],
    point: list[float],
    published: list[str],
    best_known: float,
) -> Iterator[Verdict | str]:
    train, test = rows[rows["split"] == "train"], rows[rows["split"] == "test"]
    places = test["schedule"].map({name: i for i, name in enumerate(schedules)}).to_numpy()
    asked: Any = {"curve": places.astype(float), "step": test["step"].to_numpy(float)}
    law = LAW.on(schedules, (asked["curve"], asked["step"]))
    theirs = dict(zip(NAMES, point, strict=True))
    for name, value, printed in zip(
        METRICS, metrics(test, law.values(theirs, asked)), published, strict=True
    ):
        ours = as_printed(value, printed)
        yield Verdict(
            f"{size}M, test {name} at their point", printed, ours, "every digit printed", ours == printed
        )

    used = {name: schedules[name] for name in train["schedule"].unique()}
    fitted = fit(LAW, train, schedules=used, curve="schedule", delta=1e-3, bootstrap=0)
    before, after = objective(fitted, theirs), objective(fitted, fitted.solution)
    rule = f"best known {best_known:.9g}, to {SLACK:g}"
    name = f"{size}M, training objective"
    yield Verdict(name, f"{before:.9g}", f"{after:.9g}", rule, after <= best_known * (1 + SLACK))
    agree = f"{fitted.starts.agree} of {fitted.starts.n} starts agree"
    yield f"{before / after:.1f} times lower than at the published point; {agree}"
    yield ", ".join(f"{n} {a:.5g} -> {fitted.solution[n]:.5g}" for n, a in theirs.items())
    yield fitted.status.message
    held_out = metrics(test, law.values(fitted.solution, asked))
    both = zip(METRICS, published, held_out, strict=True)
    yield "held out, published -> ours: " + ", ".join(f"{n} {p} -> {as_printed(v, p)}" for n, p, v in both)
    best = best_schedule(LAW, fitted, 24_000, peak=PEAK, end=END, warmup=WARMUP)
    losses = ", ".join(f"{name} {loss:.4f}" for name, loss in best.compared["loss"].items())
    start = int(np.argmax(best.rates[WARMUP:] < 0.99 * PEAK)) + WARMUP
    yield f"24,000 updates down to {END:g}, as it predicts: {losses}; the best falls from update {start:,} on"


if __name__ == "__main__":
    run("multipower_lr_curves", verdicts)
