"""Tests of how the runs were trained, evaluated and counted, as far as the table says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.errors import Argument, plural
from analysis.fits.splits import advice
from analysis.referee.outcome import Outcome, judged, unseen
from analysis.referee.subject import Subject, Test
from analysis.tables.columns import file_names
from analysis.tables.headings import folded
from analysis.tables.table import about

END = 3.0  # the runs within this factor of the largest compute are the end of the table,
SHARE = 1 / 3  # at most this share of them
LEAST, WANTED = 3, 6  # clusters there: at least, and better
NOTABLE = 0.5  # of the residual scale, that the end must be off by
LEVEL = 0.95
EPOCHS = 4.0  # up to which repeated tokens are nearly as good as new ones (Muennighoff et al. 2023)
WARMUP = 0.25  # of a run
BENT = 0.1  # by which all parameters may grow otherwise than those without embeddings
ENDED = 0.99  # of a run's tokens
SCHEDULES = (
    "schedule",
    "lr_schedule",
    "scheduler",
    "lr_scheduler",
    "lr_scheduler_type",
    "learning_rate_schedule",
)
STEADY = ("constant", "constant_with_warmup")  # whose every checkpoint stands for a run of that length
RUNS, NAMES = ("run_id", "run", "run_name"), ("name", "exp_name", "label", "id")


def _frontier(subject: Subject) -> Outcome:
    residual = subject.fit.residuals
    compute = subject.flops
    end = compute >= max(_end(compute, subject.rows.cluster), float(np.quantile(compute, 1 - SHARE)))
    _, cluster = np.unique(subject.rows.cluster[end], return_inverse=True)
    groups = int(cluster.max()) + 1
    if groups < LEAST or end.all():
        return unseen(
            f"{plural(groups, 'cluster')} among the runs of largest compute",
            "train several sizes near the largest compute",
        )
    mean = float(residual[end].mean())
    moved = np.bincount(cluster, residual[end] - mean)
    error = float(np.sqrt(groups / (groups - 1) * (moved**2).sum())) / int(end.sum())
    t = mean / max(error, 1e-300)
    scale = max(subject.fit.noise.robust_sd, 1e-12)
    sure = abs(t) > float(stats.t.ppf(0.5 + LEVEL / 2, groups - 1)) and abs(mean) > NOTABLE * scale
    log = subject.fit.setup.space == "log"
    size = f"{abs(mean):.2%}" if log else f"{abs(mean):.3g}"
    high = mean > 0
    return judged(
        sure,
        f"the {int(end.sum())} runs of at least {compute[end].min():.3g} FLOPs lie {size} "
        f"{'above' if high else 'below'} the law on average (t = {t:.2g}, {groups} clusters)",
        "the largest runs do worse than the law: tune learning rate, batch and warm-up at the largest size; "
        "or the law bends, and forecasts beyond are too low"
        if high
        else "the largest runs do better than the law: are the small ones tuned as well as they? Forecasts "
        "beyond are too high; weigh large runs up or fit from larger sizes",
        value=mean,
        measure="mean residual at the largest compute",
    )


def _end(compute: np.ndarray, cluster: np.ndarray) -> float:
    """The compute from which on runs are the end of the table: within ``END`` of the largest, or so far down
    that ``WANTED`` clusters are there."""
    order = np.argsort(-compute, kind="stable")
    first = np.sort(np.unique(cluster[order], return_index=True)[1])
    reached = float(compute[order][first[min(WANTED, len(first)) - 1]])
    return min(float(compute.max()) / END, reached)


def _horizons(subject: Subject) -> Outcome:
    frame = subject.frame
    run: str | None = about(frame).run or _runs(frame)
    schedule = next((c for c in map(str, frame.columns) if folded(c) in SCHEDULES), None)
    known = [] if schedule is None else sorted({folded(str(v)) for v in frame[schedule].dropna()})
    said = f"; schedule {', '.join(known)}" if known else ""
    if not run:
        return unseen(
            f"no column says which rows are one run, so rows may be checkpoints before their end{said}",
            "add a column run_id, one name a run, and a column schedule",
        )
    tokens = frame["D"] if "D" in frame.columns else frame[subject.law.inputs[0]]
    early = (tokens < ENDED * tokens.groupby(frame[run].to_numpy()).transform("max")).to_numpy(bool)
    if not early.any():
        return judged(False, f"each row is the end of a run ({run}){said}", value=0.0, measure="checkpoints")
    message = f"{int(early.sum())} of {len(frame)} rows are checkpoints before the end of their run ({run})"
    help_ = (
        "a checkpoint of a cosine or linear schedule was trained at too high a rate for its length (Hoffmann "
        "et al. 2022): take the ends of runs, or runs of one length each, or a constant rate with a decay"
    )
    if not known:
        return unseen(f"{message}; their schedule is not stated", f"add a column schedule; {help_}")
    wrong = [name for name in known if name not in STEADY]
    return judged(bool(wrong), f"{message}{said}", help_, value=float(early.mean()), measure="checkpoints")


def _runs(frame: Any) -> str | None:
    """The column that names runs: a name for each row, or one that says it is of runs, of one size each."""
    for column in (c for c in map(str, frame.columns) if folded(c) in (*RUNS, *NAMES)):
        names = frame[column].to_numpy()
        if pd.isna(names).any():
            continue
        size = frame["N"].to_numpy() if "N" in frame.columns else np.zeros(len(frame))
        sizes: Any = pd.Series(size).groupby(names).nunique()
        if len(sizes) == len(frame) or (folded(column) in RUNS and sizes.max() == 1):
            return column
    return None


def _evaluation(subject: Subject) -> Outcome:
    frame, target = subject.frame, subject.asked.target
    name = file_names(frame).get(target, target)
    if "train" in folded(name).split("_"):
        return judged(
            True,
            f"the loss is a training loss ({name!r})",
            "fit the loss on one held-out set: that of training changes with batch, epochs and smoothing",
        )
    for column, what in (("eval_id", "evaluations"), ("eval_tokens", "numbers of evaluation tokens")):
        kinds = frame[column].dropna().nunique() if column in frame.columns else 0
        if kinds > 1:
            return judged(
                True,
                f"losses are of {kinds} different {what} ({column})",
                "evaluate every run on the same documents: differences between sets count as scaling",
                value=float(kinds),
                measure=what,
            )
    if "eval_id" not in frame.columns or frame["eval_id"].isna().any():
        return unseen(
            f"whether {name!r} was measured on one set by all runs is not said",
            "add eval_id and eval_tokens, and say in the text which set it is",
        )
    counted: Any = frame["eval_tokens"].dropna() if "eval_tokens" in frame.columns else ()
    tokens = f", {int(counted.iloc[0])} tokens" if len(counted) else ""
    return judged(False, f"one evaluation of all runs{tokens}", value=1.0, measure="evaluations")


def _embedding(subject: Subject) -> Outcome:
    frame = subject.frame
    if not {"params", "params_body"} <= set(frame.columns) or frame["params_body"].isna().any():
        return unseen(
            "the parameters of embedding and head are not known",
            "add params_body (without embedding and head)",
        )
    total, body = (np.log(frame[c].to_numpy(float)) for c in ("params", "params_body"))
    if np.ptp(total) < 0.1 or not np.isfinite(body).all():
        return unseen("one size: how the share of embeddings changes is not known", "train more sizes")
    slope = float(np.polyfit(total, body, 1)[0])
    share = 1 - np.exp(body - total)
    at = share[np.argmin(total)], share[np.argmax(total)]
    other = "total" if subject.asked.convention in ("body", "kaplan") else "body"
    return judged(
        abs(slope - 1) > BENT,
        f"embedding and head are {at[0]:.0%} of the smallest and {at[1]:.0%} of the largest size: N without "
        f"them grows as N^{slope:.3g}",
        (
            "exponents of size depend on what is counted (Porian et al. 2024): state it, and quote both: ",
            Argument("convention", other),
        ),
        value=slope,
        measure="exponent of parameters without embeddings in all parameters",
    )


def _repetition(subject: Subject) -> Outcome:
    frame = subject.frame
    if "epochs" in frame.columns and frame["epochs"].notna().all():
        epochs = frame["epochs"].to_numpy(float)
    elif "unique_tokens" in frame.columns and "D" in frame.columns and frame["unique_tokens"].notna().all():
        epochs = frame["D"].to_numpy(float) / frame["unique_tokens"].to_numpy(float)
    else:
        return unseen("how often tokens were repeated is not said", "add epochs, or unique_tokens")
    most, rows = float(epochs.max()), int((epochs > EPOCHS).sum())
    return judged(
        rows > 0 and "unique_tokens" not in subject.law.inputs,
        f"up to {most:.3g} epochs" + (f", above {EPOCHS:g} in {rows} runs" if rows else ""),
        "repeated tokens are worth less than new ones: leave these runs out, or fit a law of unique tokens "
        "(data-constrained)",
        value=most,
        measure="epochs",
    )


def _warmup(subject: Subject) -> Outcome:
    frame = subject.frame
    if not {"warmup_tokens", "D"} <= set(frame.columns) or frame["warmup_tokens"].isna().any():
        return unseen("how long the warm-up is is not said", "add warmup_tokens")
    share = float((frame["warmup_tokens"].to_numpy(float) / frame["D"].to_numpy(float)).max())
    return judged(
        share > WARMUP,
        f"warm-up is at most {share:.0%} of a run",
        "the shortest runs spend much of their tokens warming up, which makes small budgets worse than the "
        "law (Porian et al. 2024): shorten it, or leave the shortest runs out",
        value=share,
        measure="largest share of a run",
    )


def _mixture(subject: Subject) -> Outcome:
    found = subject.fitted.splits
    if not found:
        return judged(False, "no column of the table explains what the law leaves over")
    first = found[0]
    others = f"; also {', '.join(', '.join(s.columns) for s in found[1:])}" if len(found) > 1 else ""
    return judged(
        True,
        f"{', '.join(first.columns)} explains {first.share:.0%} of what the law leaves over{others}",
        advice(first),
        value=first.share,
        measure="share of the squares of residuals",
    )


TESTS = {
    "mixture": Test("several laws in one table", _mixture),
    "frontier": Test("residuals at the largest compute", _frontier),
    "horizons": Test("horizons matched to schedules", _horizons),
    "warmup": Test("warm-up of the shortest runs", _warmup),
    "repetition": Test("repeated tokens", _repetition),
    "evaluation": Test("one evaluation", _evaluation),
    "embedding": Test("embeddings among the parameters", _embedding),
}
