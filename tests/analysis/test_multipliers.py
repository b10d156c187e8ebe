"""Compute multipliers of groups whose truth is known."""

import json

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis import AnalysisError, Law, figures, multiplier
from analysis.multipliers import Multipliers

SIZE, DATA = 1.3, 1.6  # the second group needs so many times the parameters and the tokens


def table(seed=0, noise=0.004, offset=0.0, size=SIZE, data=DATA):
    rng, rows = np.random.default_rng(seed), []
    for kind, s, t, e in (("plain", 1.0, 1.0, 0.0), ("slow", size, data, offset)):
        for n in np.geomspace(2e7, 6e8, 5):
            shared = rng.normal() * noise
            for d in np.geomspace(4e8, 2e10, 5):
                law = 1.7 + e + 400 * (s / n) ** 0.34 + 410 * (t / d) ** 0.28
                rows.append((kind, n, d, law * np.exp(shared + rng.normal() * noise)))
    return pd.DataFrame(rows, columns=["kind", "params", "tokens", "loss"])


def fitted(rows, own=("A", "B"), bootstrap=100):
    return analysis.fit("chinchilla", rows, groups="kind", own=own, bootstrap=bootstrap)


@pytest.fixture(scope="module")
def noisy():
    return fitted(table(offset=0.3, size=1.0, data=1.0), own=("E", "A", "B"))


def test_a_known_multiplier_is_recovered_and_its_interval_is_honest():
    exact = multiplier(fitted(table(noise=0), bootstrap=0), "plain")
    again = json.loads(exact.to_json())
    assert again["frame"]["multiplier"] == exact.frame["multiplier"].tolist() and again["of"] == exact.of
    assert exact.constant and exact.frame["multiplier"].tolist() == pytest.approx([SIZE * DATA], rel=1e-4)
    fit = fitted(table(3))
    found, back = multiplier(fit, "plain").frame.iloc[0], multiplier(fit, "slow").frame.iloc[0]
    assert found["low"] < SIZE * DATA < found["high"] and found["verdict"] == "yes" and found["low"] > 1.5
    p = fit.solution
    closed = (p["A[slow]"] / p["A[plain]"]) ** (1 / p["alpha"]) * (p["B[slow]"] / p["B[plain]"]) ** (
        1 / p["beta"]
    )
    assert found["multiplier"] == pytest.approx(closed, rel=1e-6)
    assert back["multiplier"] == pytest.approx(1 / closed, rel=1e-6) and back["reason"] == "it needs less"
    tokens = multiplier(fitted(table(noise=0, size=1), own=("B",), bootstrap=0), "plain", of="D")
    assert tokens.constant and tokens.frame["multiplier"].iloc[0] == pytest.approx(DATA, rel=1e-4)


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say():
    rows = [multiplier(fitted(table(i)), "plain").frame.iloc[0] for i in range(50)]
    inside = np.mean([row["low"] <= SIZE * DATA <= row["high"] for row in rows])
    assert 0.8 <= inside <= 1.0  # 90 % nominal, 50 tables


def test_a_group_that_ends_above_the_loss_never_reaches_it(noisy):
    found = multiplier(noisy, "plain", [1e19, 1e26])
    near, far = (row for _, row in found.frame.iterrows())
    assert near["verdict"] == "yes" and near["low"] > 1
    assert far["verdict"] == "one_sided" and far["multiplier"] == np.inf and np.isnan(far["high"])
    assert not found.constant and any("never reaches the loss at C = 1e+26" in note for note in found.notes)
    assert "never reached in" in far["reason"] and f"> {far['low']:.3g}" in str(found)
    again, text = Multipliers.from_json(found.to_json()), found.to_json()
    pd.testing.assert_frame_equal(again.frame, found.frame)
    assert again.to_json() == text and again.notes == found.notes and str(again) == str(found)
    for broken in ("[]", "{", text.replace('"schema": 1', '"schema": 0'), text.replace('"frame"', '"table"')):
        with pytest.raises(AnalysisError, match="multipliers"):
            Multipliers.from_json(broken)
    axes = figures.multipliers(found)
    assert [line.get_marker() for line in axes.lines if line.get_marker() in ("<", ">")] == [">"]
    assert [text.get_text()[:3] for text in axes.texts][1] == "$>$"


def test_a_target_that_rises_and_a_law_of_ones_own():
    c = np.geomspace(1e18, 1e21, 8)
    scores = {k: 0.05 * np.log10(c / m) + 1e-4 * np.cos(c / 1e18) for k, m in (("x", 1.0), ("y", 3.0))}
    rows = pd.concat([pd.DataFrame({"flops": c, "kind": k, "score": y}) for k, y in scores.items()])
    law = Law("line", function=_line, linear=("a", "k"),
              domains={"a": (-np.inf, np.inf), "k": (-np.inf, np.inf)})  # fmt: skip
    fit = analysis.fit(law, rows, target="score", objective="raw-ls", groups="kind", own=["a"], bootstrap=0)
    assert multiplier(fit, "x").frame["multiplier"].tolist() == pytest.approx([3.0], rel=0.05)


def _line(C, a, k):
    import jax.numpy as jnp

    return a + k * jnp.log10(C)


@pytest.mark.slow
def test_a_law_without_a_closed_form():
    rows = table(noise=0, data=1.0)
    n, d, s = rows["params"], rows["tokens"], np.where(rows["kind"] == "slow", SIZE, 1.0)
    rows["loss"] = ((8e13 * s / n) ** (0.076 / 0.095) + 5e13 * DATA ** (s > 1) / d) ** 0.095
    fit = analysis.fit("kaplan", rows, groups="kind", own=["Nc", "Dc"], bootstrap=0)
    assert multiplier(fit, "plain").frame["multiplier"].tolist() == pytest.approx([SIZE * DATA], rel=1e-3)


def test_bad_requests(noisy):
    with pytest.raises(AnalysisError, match=r"reference = 'x': choose one of plain, slow"):
        multiplier(noisy, "x")
    with pytest.raises(AnalysisError, match="of = 'foo': choose one of N, D, C"):
        multiplier(noisy, "plain", of="foo")
    with pytest.raises(AnalysisError, match=r"held: D = 1\.0: finite numbers of N"):
        multiplier(noisy, "plain", of="D", held={"D": 1.0})
    with pytest.raises(AnalysisError, match=r"at = -1\.0: give amounts of C"):
        multiplier(noisy, "plain", -1.0)
    with pytest.raises(AnalysisError, match="has no groups"):
        multiplier(analysis.fit("chinchilla", table(), bootstrap=0), "plain")
