"""Loss, then accuracy from loss: the links, the chain of both, and what it says when it knows nothing."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, TwoStep, figures, twostep
from analysis.links import LINKS
from analysis.results import Noise

LAW = {"E": 0.45, "A": 30.0, "B": 70.0, "alpha": 0.25, "beta": 0.25}
LINK = {"floor": 0.25, "ceiling": 0.9, "k": 7.0, "L0": 0.85}
QUICK = {"bootstrap": 30, "accuracy": "acc"}


def law(n, d):
    return LAW["E"] + LAW["A"] / n ** LAW["alpha"] + LAW["B"] / d ** LAW["beta"]


def link(loss):
    return LINK["floor"] + (LINK["ceiling"] - LINK["floor"]) / (1 + np.exp(LINK["k"] * (loss - LINK["L0"])))


def runs(seed=0, noise=0.002, scatter=0.008, sizes=5, budgets=5):
    """A grid of runs: their losses scatter, half of it shared by the runs of a size; so do accuracies."""
    rng = np.random.default_rng(seed)
    n, d = (x.ravel() for x in np.meshgrid(np.geomspace(1e8, 1.6e9, sizes), np.geomspace(2e9, 2e11, budgets)))
    shared = np.tile(rng.normal(size=sizes), budgets)
    loss = law(n, d) * np.exp(noise * (shared + rng.normal(size=len(n))))
    acc = link(loss) + scatter * rng.normal(size=len(n))
    return pd.DataFrame({"params": n, "tokens": d, "loss": loss, "acc": acc})


@pytest.fixture(scope="module")
def chain():
    return twostep(runs(), floor=0.25, **QUICK)


def test_exact_data_give_back_both_steps():
    found = twostep(runs(noise=0.0, scatter=0.0), **QUICK | {"bootstrap": 10})
    assert found.loss.params == pytest.approx(LAW, rel=1e-4)
    assert found.link.params == pytest.approx(LINK, rel=1e-4)
    at = found.predict(N=[3e9, 7e9], D=[1e12, 2e12])
    assert at["accuracy"].to_numpy() == pytest.approx(
        link(law(np.array([3e9, 7e9]), np.array([1e12, 2e12]))), rel=1e-4
    )
    assert found.sd < 1e-6


@pytest.mark.slow
def test_an_exponential_link_is_recovered():
    table = runs(noise=0.0)
    table["acc"] = 0.2 + 4.0 * np.exp(-3.0 * table["loss"])
    found = twostep(table, link="exponential", **QUICK | {"bootstrap": 10})
    assert found.link.params == pytest.approx({"floor": 0.2, "k": 4.0, "gamma": 3.0}, rel=1e-4)
    assert found.predict(N=1e15, D=1e15)["accuracy"][0] == 1.0  # the formula says 1.23


def test_a_prediction_has_both_steps_and_stays_within_its_range(chain):
    got = chain.predict(pd.DataFrame({"params": [1e9, 7e9, 1e14], "tokens": [2e10, 4e12, 1e16]}))
    frame = got.frame
    assert (frame["low"] <= frame["accuracy"]).all() and (frame["accuracy"] <= frame["high"]).all()
    assert (frame["new_low"] <= frame["low"]).all() and (frame["high"] <= frame["new_high"]).all()
    assert frame["new_low"][0] < frame["low"][0] and frame["high"][0] < frame["new_high"][0]
    assert chain.paired and "clusters resampled jointly" in got.method
    assert frame[["new_low", "new_high"]].to_numpy().max() <= 1.0
    inside, beyond = link(law(1e9, 2e10)), link(law(7e9, 4e12))
    assert frame["new_low"][0] < inside < frame["new_high"][0] and frame["low"][1] < beyond < frame["high"][1]
    assert frame["se"][1] > frame["se"][0]
    # a new run scatters about the link, and along it with its loss
    slope = chain.predict(N=1e9, D=2.02e10)["accuracy"][0] - frame["accuracy"][0]
    slope /= chain.predict(N=1e9, D=2.02e10)["loss"][0] - frame["loss"][0]
    scatter = np.hypot(chain.sd, slope * chain.loss.noise.sd * frame["loss"][0])
    assert chain.sd == pytest.approx(0.008, rel=0.3) and scatter > 1.02 * chain.sd
    tail = 2.132  # t(4) at 95 %
    assert frame["new_high"][0] - frame["accuracy"][0] == pytest.approx(
        tail * np.hypot(scatter, frame["se"][0]), rel=0.01
    )
    assert any("the link was fitted at losses 0.704" in note for note in got.notes)
    assert not any("link" in note for note in chain.predict(N=1e9, D=2e10).notes)


@pytest.mark.slow
def test_replicates_of_both_steps_are_paired_by_cluster():
    """Noise shared by loss and accuracy of a run cancels in the chain only if replicates go together."""
    table = runs(scatter=0.0)
    table["acc"] = link(law(table["params"], table["tokens"]))  # a lucky loss brings no accuracy
    plain = QUICK | {"method": "wild-cluster", "floor": 0.25, "ceiling": 0.9}
    together = twostep(table, **plain)
    apart = twostep(table, link_table=table.assign(params=table["params"] * 1.01), **plain)
    assert together.paired and not apart.paired and "independent" in apart.pairing
    at = {"N": 8e8, "D": 4e10}
    assert together.predict(**at)["se"][0] < 0.85 * apart.predict(**at)["se"][0]
    assert not twostep(table, **plain | {"method": "auto", "bootstrap": 0}).paired


@pytest.mark.slow
def test_a_plateau_that_no_run_has_seen_is_said():
    early = runs(1)
    early["acc"] -= link(early["loss"])
    early["params"] /= 50  # so that losses are higher
    early["loss"] = law(early["params"], early["tokens"])
    early["acc"] += link(early["loss"])
    found = twostep(early, floor=0.25, **QUICK)
    assert found.link.identified["ceiling"].verdict != "yes"
    assert any(note.startswith("ceiling of 'acc' is not determined") for note in found.notes)
    assert not twostep(early, floor=0.25, ceiling=0.9, **QUICK).notes


@pytest.mark.parametrize("rise", [0.0, pytest.param(-0.1, marks=pytest.mark.slow)])
def test_accuracy_within_noise_is_no_law(rise):
    table = runs()
    table["acc"] = (
        0.25 + rise * (1.0 - table["loss"]) + 0.01 * np.random.default_rng(3).normal(size=len(table))
    )
    found = twostep(table, floor=0.25, **QUICK)
    assert found.status.code == "not_identified" and "within noise of chance" in found.status.message
    with pytest.raises(AnalysisError, match=r"cannot predict.*within noise of chance"):
        found.predict(N=1e9, D=2e10)
    with pytest.raises(AnalysisError, match="figure of two steps"):
        figures.accuracy_in_two_steps(found)
    assert "within noise" in found.summary()


def test_what_is_wrong_is_said_at_once():
    table = runs()
    with pytest.raises(AnalysisError) as error:
        twostep(table, accuracy="acc", link="tanh", floor=1.5, ceiling=0.2, groups="x")
    assert len(error.value.problems) == 4  # link, floor, their order, groups
    for accuracy, text in (
        ("hellaswag", "column 'hellaswag' is missing; the table has params"),
        ("percent", r"45.*by 100"),
    ):
        with pytest.raises(AnalysisError, match=text):
            twostep(table.assign(percent=45.0), accuracy=accuracy)
    with pytest.raises(AnalysisError, match="exponential link has none"):
        twostep(table, accuracy="acc", link="exponential", ceiling=0.9)


@pytest.mark.parametrize(("space", "size"), [("log", 2.5), ("log1p", 3.5), ("raw", 1.0)])
def test_a_runs_loss_scatters_as_its_residuals_do(chain, space, size):
    setup = replace(chain.loss.setup, space=space)
    first = replace(chain.loss, setup=setup, noise=Noise(sd=0.01, space=space))
    assert replace(chain, loss=first)._scatter(np.array([2.5])) == pytest.approx([0.01 * size])


def test_json_gives_it_back(chain):
    again = TwoStep.from_json(chain.to_json())
    at = {"N": [1e9, 7e9], "D": [2e10, 4e12]}
    pd.testing.assert_frame_equal(again.predict(**at).frame, chain.predict(**at).frame)
    assert again.summary() == chain.summary() and again._repr_html_().startswith("<pre>two steps")
    with pytest.raises(AnalysisError, match="schema"):
        TwoStep.from_json(json.dumps(json.loads(chain.to_json()) | {"schema": 99}))
    with pytest.raises(AnalysisError, match="not its JSON"):
        TwoStep.from_json("{}")


def test_the_figure_shows_runs_and_predictions(chain):
    held = pd.DataFrame({"params": [3e9, 3e9], "tokens": [1e11, 4e11]})
    held = held.assign(loss=law(held["params"], held["tokens"]), acc=0.7)
    left, right = figures.accuracy_in_two_steps(chain, held)
    assert left.xaxis_inverted() and len(left.collections) == 3  # band, runs, held out
    assert {t.get_text() for t in right.get_legend().get_texts()} >= {"measured"}
    assert len(right.get_lines()) >= 5  # a curve for each size


@pytest.mark.slow
def test_intervals_cover(capsys):
    """Nominal 90 %, 150 tables: the chain and a new run at 4.4 x the largest N and 5 x the largest D."""
    n, d, tables = 7e9, 1e12, 150
    hits = np.zeros(2)
    for seed in range(tables):
        found = (
            twostep(runs(seed, sizes=8), floor=0.25, bootstrap=100, accuracy="acc").predict(N=n, D=d).frame
        )
        fresh = np.random.default_rng([seed, 1]).normal(size=3)
        new = link(law(n, d) * np.exp(0.002 * (fresh[0] + fresh[1]))) + 0.008 * fresh[2]
        truth = link(law(n, d))
        hits += [
            found["low"][0] <= truth <= found["high"][0],
            found["new_low"][0] <= new <= found["new_high"][0],
        ]
    with capsys.disabled():
        print(f"\ncoverage of 90 % intervals: chain {hits[0] / tables:.1%}, new run {hits[1] / tables:.1%}")
    assert (hits / tables >= 0.83).all()


def test_links_say_where_they_come_from():
    assert all("arXiv" in law.source and law.assumptions for law in LINKS.values())
