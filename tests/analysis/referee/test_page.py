"""Every test of the referee on one table that passes and on one that fails; the page of all of them."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, check
from analysis.errors import Argument
from analysis.laws.lookup import require
from analysis.referee.outcome import Page
from analysis.referee.page import TESTS, _outcome
from analysis.referee.subject import Subject
from scaling.cli.arguments import as_option
from tests.analysis.test_collapse import family
from tests.cli.call import call

QUICK = {"bootstrap": 0}


def runs(sizes: int = 8, lengths: int = 6, noise: float = 0.002, e: float = 1.7) -> pd.DataFrame:
    """A grid of runs of a known law, as careful people would report it; seeds of one cell, a run held out."""
    rng = np.random.default_rng(3)
    sizes_, ratios = 5e7 * 2.0 ** np.arange(sizes), 5 * 2.0 ** np.arange(lengths)
    cells = [(n, n * m, "fit", 0) for n in sizes_ for m in ratios]
    cells += [(5e7, 1e9, "noise", seed) for seed in range(1, 5)]
    cells += [(sizes_[-1] * 2, sizes_[-1] * 80, "holdout", 0)]
    frame = pd.DataFrame(cells, columns=["params", "tokens", "role", "seed"])
    frame["flops"] = 6 * frame["params"] * frame["tokens"]
    loss = e + 406 / frame["params"] ** 0.34 + 410 / frame["tokens"] ** 0.28
    frame["loss"] = loss * np.exp(rng.normal(size=len(frame)) * noise)
    frame["run_id"] = [f"run{i}" for i in range(len(frame))]
    said = {"schedule": "wsd", "eval_id": "e1", "eval_tokens": 100_000, "epochs": 0.5, "warmup_tokens": 1e7}
    return frame.assign(params_body=frame["params"] ** 0.998, flags=None, **said)


def isoflop() -> pd.DataFrame:
    """Budgets of 7 sizes of a known law."""
    rng, rows = np.random.default_rng(1), []
    for c in 1e19 * 3.0 ** np.arange(5):
        for j in range(-3, 4):
            n = float(np.sqrt(c / 120) * 1.8**j)
            loss = (1.7 + 406 / n**0.34 + 410 / (c / 6 / n) ** 0.28) * np.exp(rng.normal() * 0.0003)
            rows.append({"params": n, "tokens": c / 6 / n, "flops": c, "loss": loss})
    return pd.DataFrame(rows)


def scaled(frame: pd.DataFrame, rows: Any, by: float) -> pd.DataFrame:
    return frame.assign(loss=frame["loss"].where(~rows, frame["loss"] * by))


def checkpoints() -> pd.DataFrame:
    frame = runs()
    return frame.assign(run_name=frame["params"], run_id=None, schedule="cosine")


def corpora() -> pd.DataFrame:
    frame = runs()
    frame["corpus"] = np.where(frame.index % 2 == 0, "a", "b")
    return scaled(frame, frame["corpus"] == "a", 1.05)


def outliers() -> pd.DataFrame:
    frame = runs()
    return scaled(frame, frame.index % 9 == 8, 1.06)


def evaluations() -> pd.DataFrame:
    frame = runs()
    return frame.assign(eval_id=np.where(frame.index % 3 == 0, "e1", "e2"))


def ray() -> pd.DataFrame:
    frame = runs()
    return frame[(frame["tokens"] / frame["params"]).round() == 20]


def power(e: float, span: float, seed: int = 0) -> pd.DataFrame:
    """Runs at the frontier, for laws of compute alone."""
    c = np.geomspace(1e18, 1e18 * span, 24)
    noise = np.random.default_rng(seed).normal(size=24) * 0.001
    n = np.sqrt(c / 120)
    return pd.DataFrame(
        {"params": n, "tokens": 20 * n, "flops": c, "loss": (e + 900 * c**-0.15) * np.exp(noise)}
    )


def doubted() -> pd.DataFrame:
    frame = runs()
    return frame.assign(flags=np.where(frame.index < 9, "eval_noise", None))


Case = tuple[str, Callable[[], pd.DataFrame], dict[str, Any]]
GOOD: Case = ("chinchilla", runs, {})
APART = {"cluster": "run_id"}  # many clusters
LEAST_SQUARES = {"objective": "log-ls"}
BUDGETS: Case = ("chinchilla", isoflop, {})
COMPUTE: Case = ("power-offset", lambda: power(1.7, 1e4), {})


def small(by: float) -> pd.DataFrame:
    """Small sizes worse than the law."""
    frame = runs()
    return scaled(frame, frame["params"] < 1.5e8, by)


def bent() -> pd.DataFrame:
    """Large runs ever worse than the law."""
    frame = runs()
    worse = 1 + 0.03 * np.log10(frame["flops"] / 1e20).clip(lower=0)
    return frame.assign(loss=frame["loss"] * worse)


CASES: dict[str, tuple[Case, Case]] = {
    "ray": (GOOD, ("chinchilla", ray, {})),
    "clusters": (GOOD, ("chinchilla", lambda: runs(sizes=4), {})),
    "repeats": (GOOD, ("chinchilla", lambda: small(1.03), {})),
    "extrapolation": (GOOD, ("chinchilla", runs, {"compute": 1e26})),
    "mixture": (
        GOOD,
        ("chinchilla", corpora, {}),
    ),
    "frontier": (GOOD, ("chinchilla", bent, APART)),
    "horizons": (
        GOOD,
        ("chinchilla", checkpoints, {"cells": "all"}),
    ),
    "warmup": (GOOD, ("chinchilla", lambda: runs().assign(warmup_tokens=1e8), {})),
    "repetition": (GOOD, ("chinchilla", lambda: runs().assign(epochs=10.0), {})),
    "evaluation": (GOOD, ("chinchilla", evaluations, {})),
    "embedding": (GOOD, ("chinchilla", lambda: (f := runs()).assign(params_body=f["params"] - 4e7), {})),
    "flags": (GOOD, ("chinchilla", doubted, {})),
    "collapse": (
        ("chinchilla", lambda: family()[0], {"curves": family()[1]}),
        ("chinchilla", lambda: family(bad=4)[0], {"curves": family(bad=4)[1]}),
    ),
    "runs": (GOOD, ("chinchilla", lambda: scaled(f := runs(), f["run_id"] == "run47", 1.2), LEAST_SQUARES)),
    "sizes": (GOOD, ("chinchilla", lambda: scaled(f := runs(6), f["params"] == 5e7, 1.1), LEAST_SQUARES)),
    "smallest": (GOOD, ("chinchilla", lambda: small(1.05), APART)),
    "weights": (GOOD, ("chinchilla", lambda: small(1.15), APART)),
    "objectives": (GOOD, ("chinchilla", outliers, APART)),
    "conventions": (GOOD, ("chinchilla", lambda: (f := runs()).assign(params_body=f["params"] - 4e7), {})),
    "parameters": (GOOD, ("chinchilla", lambda: runs(sizes=3, lengths=3, noise=0.02), {})),
    "edges": (GOOD, ("chinchilla", lambda: runs(e=-0.3), {})),
    "starts": (GOOD, ("chinchilla", ray, {})),
    "laws": (COMPUTE, ("power", lambda: power(1.7, 1e4), {})),
    "forecasts": (("power-offset", lambda: power(0.0, 1e4, 4), {}), ("power", lambda: power(0.3, 5.0), {})),
    "approaches": (BUDGETS, ("chinchilla", isoflop, {"fixed": {"alpha": 0.6}})),
    "backtest": (BUDGETS, ("chinchilla", lambda: scaled(f := isoflop(), f["flops"] > 5e20, 1.05), {})),
}  # fmt: skip


def subject(case: Case) -> Subject:
    law, table, options = case
    given = {name: value for name, value in options.items() if name not in ("compute", "curves")}
    compute, curves = options.get("compute"), options.get("curves")
    return Subject(require(law), table(), {**QUICK, **given}, compute, curves)


@functools.cache
def good(law: str, table: Callable[[], pd.DataFrame]) -> Subject:
    """Subjects that several tests look at are fitted once."""
    return subject((law, table, {}))


def test_every_test_is_tried():
    assert list(CASES) == list(TESTS)


@pytest.mark.parametrize("name", CASES)
def test_passes(name):
    law, table, options = CASES[name][0]
    outcome = _outcome(name, TESTS[name], subject(CASES[name][0]) if options else good(law, table))
    assert outcome.verdict == "pass", outcome
    assert not outcome.advice and outcome.title == TESTS[name].title


@pytest.mark.parametrize("name", CASES)
def test_fails(name):
    outcome = _outcome(name, TESTS[name], subject(CASES[name][1]))
    assert outcome.verdict == "fail", outcome
    assert outcome.advice and (np.isfinite(outcome.value) or np.isinf(outcome.value))


def test_tokens_of_an_evaluation_may_not_be_known():
    asked = subject(("chinchilla", lambda: runs().assign(eval_tokens=np.nan), {}))
    outcome = _outcome("evaluation", TESTS["evaluation"], asked)
    assert (outcome.verdict, outcome.message) == ("pass", "one evaluation of all runs")


def test_the_page_says_what_it_could_not_look_at_and_is_read_back():
    page = check(power(1.7, 1e4), "power-offset", bootstrap=0)
    assert {*page.passed, *page.failed, *page.unknown} == {*TESTS}
    assert "horizons" in page.unknown and page["horizons"].advice
    text = page.summary(spell=as_option)
    assert "COULD NOT BE LOOKED AT" in text and "--compute" in text
    assert "law 'power-offset' allots no compute" in text
    again = Page.from_json(page.to_json())
    assert again.to_dict() == page.to_dict() and again.failed == page.failed


def test_without_a_fit_the_others_are_still_asked():
    frame = runs()
    page = check(frame[frame["params"] == 5e7], bootstrap=0)
    assert page.status == "not_identified" and {"ray", "clusters", "parameters"} <= {*page.failed}
    assert "warmup" in page.passed and page["runs"].verdict == "unknown"
    assert page.summary().count("there is no fit") == 1  # of all that need one


def test_a_table_without_compute_is_looked_at_as_far_as_it_goes():
    frame = runs()[["params", "loss", "role"]]
    page = check(frame.iloc[:48], "power-offset-params", bootstrap=0)
    assert {"frontier", "weights", "extrapolation", "backtest"} <= {*page.unknown}
    assert page["weights"].message == "the compute of the runs is not known"
    assert page["sizes"].verdict != "unknown"


def test_compute_must_be_a_number_of_flops():
    with pytest.raises(AnalysisError, match="must be finite and positive"):
        check(runs(), compute=-1.0)


def test_advice_is_spelt_for_who_asks(tmp_path):
    outcome = _outcome("embedding", TESTS["embedding"], subject(CASES["embedding"][1]))
    assert Argument("convention", "body") in tuple(outcome.advice)
    assert "convention='body'" in outcome.to_dict()["advice"]


def test_the_command(tmp_path):
    table = tmp_path / "runs.csv"
    power(1.7, 1e4).to_csv(table, index=False)
    good = call("check", table, "--law", "power-offset", "--compute", "1e23")
    assert good.returncode == 0 and "0 of 26 tests failed" in good.stdout, good.stdout
    assert "next: scaling fit" in good.stdout
    bad = call("check", table, "--law", "power", "--json")
    assert bad.returncode == 1 and "laws" in json.loads(bad.stdout)["failed"]
