"""Figures of any fit: what is drawn is what was measured and what the law says."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.mathtext import MathTextParser

import analysis
from analysis import AnalysisError, Law, figures, fit
from analysis.figures import style
from analysis.figures.design import design
from analysis.fits.profile import Profile
from analysis.laws import notation

THREE = Law("three", {"E": {}, "A": {"N": "alpha"}, "B": {"D": "beta"}, "G": {"width_$": "gamma"}})


@pytest.fixture(scope="module")
def three():
    rng = np.random.default_rng(0)
    n, d = 10 ** rng.uniform(7, 9, 40), 10 ** rng.uniform(8, 11, 40)
    w = rng.choice([1.0, 4.0, 16.0], 40)
    loss = (1.7 + 400 / n**0.34 + 900 / d**0.3 + 0.5 / w**0.8) * np.exp(rng.normal(0, 0.01, 40))
    return fit(THREE, pd.DataFrame({"params": n, "tokens": d, "width_$": w, "loss": loss}), bootstrap=0)


@pytest.fixture(scope="module")
def basins():
    x = np.geomspace(1e-4, 1e-1, 9)
    gap = {
        k: -1 + 0.5 * (np.log10(x) - c) ** 2 + 0.02 * np.sin(40 * x) for k, c in (("a", -2.5), ("b$", -2.0))
    }
    table = pd.concat([pd.DataFrame({"lr": x, "kind": k, "gap": y}) for k, y in gap.items()])
    law = Law("basin", {}, function=lambda lr, L0, k: L0 + k * lr, linear=("L0", "k"),
              domains={"L0": (-np.inf, np.inf), "k": (-np.inf, np.inf)})  # fmt: skip
    return fit(law, table, target="gap", objective="raw-ls", groups="kind", own=["L0", "k"], bootstrap=0)


def dots(axes):
    return np.concatenate([np.asarray(c.get_offsets()) for c in axes.collections if len(c.get_offsets()) > 1])


def test_a_law_is_drawn_where_it_lies(found):
    top, below = figures.law(found)
    assert len(top.lines) == 7 and below.get_xlabel() == "Training tokens $D$"
    x, y = top.lines[0].get_data()
    n = min(found.data["N"])
    at = np.array(found.data["N"]) == n
    assert x[[0, -1]] == pytest.approx(
        [min(np.array(found.data["D"])[at]), max(np.array(found.data["D"])[at])]
    )
    assert y == pytest.approx(found.predict(N=n, D=x)["loss"].to_numpy())
    assert sorted(dots(top)[:, 1]) == pytest.approx(sorted(found.data["L"]))
    cost, c = found.optimum.cost, max(found.data["C"])
    for x, at in (("N", lambda n: (n, cost.tokens(n, c))), ("D", lambda d: (cost.size(d, c), d))):  # isoFLOP
        curve = figures.law(found, x, "C")[0].lines[-1]
        n, d = at(curve.get_xdata())
        assert curve.get_ydata() == pytest.approx(found.predict(N=n, D=d)["loss"].to_numpy())


def test_other_inputs_are_held_and_the_runs_moved_there(three):
    axes = figures.law(three, x="N", by="width_$")
    held = np.quantile(three.data["D"], 0.5, method="nearest")
    there = {"N": three.data["N"], "D": held, "width_$": three.data["width_$"]}
    moved = THREE.values(three.solution, there) * np.exp(three.residuals)
    shown = {round(float(x), 3): y for x, y in dots(axes[0])}
    assert [shown[round(n, 3)] for n in three.data["N"]] == pytest.approx(moved.tolist())
    assert f"moved along the law to $D$ = {held / 1e9:.3g}B" in axes[0].get_title("left")
    axes[0].figure.draw_without_rendering()  # a column's dollar sign begins no formula


def test_groups_have_panels_or_colours_and_targets_may_be_negative(study, basins):
    axes = figures.law(basins)
    assert len(axes) == 2 and len(axes[0].lines) == 2 and axes[0].get_ylabel() == "gap"
    assert (
        dots(axes[0])[:, 1].min() < 0 and axes[0].get_yscale() == "linear" and axes[0].get_xscale() == "log"
    )
    assert figures.fit_and_residuals(basins)[0].get_ylabel() == "Measured gap"
    runs = study[study["role"] == "fit"].drop(columns="run_id")
    both = pd.concat([runs.assign(kind="x"), runs.assign(kind="y", loss=1.1 * runs["loss"])])
    panels = figures.law(fit("chinchilla", both, groups="kind", bootstrap=0))
    assert len(panels) == 4 and panels[0].get_ylim() == panels[1].get_ylim()
    assert dots(panels[0])[:, 1].max() * 1.1 == pytest.approx(dots(panels[1])[:, 1].max())


def test_bad_requests_are_told_all_at_once(three, study):
    with pytest.raises(AnalysisError, match=r"(?s)x='foo': must be one of N, D, width_.*by='C'"):
        figures.law(three, x="foo", by="C")
    with pytest.raises(AnalysisError, match="is x already"):
        figures.law(three, x="N", by="N")
    nothing = fit("chinchilla", study[study["width"] == 24])
    with pytest.raises(AnalysisError, match="distinct model size"):
        figures.law(nothing)


def test_intervals_show_bounds_as_arrows_and_no_number_of_what_is_not_identified(study):
    few = fit("chinchilla", study[study["width"].isin([16, 24, 32, 48, 64])], bootstrap=100)
    verdicts = {name: found["verdict"] for name, found in few.identified.items()}
    assert {"one_sided", "no"} <= set(verdicts.values())
    axes = figures.intervals(few)
    texts = [t.get_text() for a in axes for t in a.texts]
    bounds = few.ci()
    arrows = sum(line.get_marker() in "<>" for a in axes for line in a.lines)
    assert arrows == sum(v == "one_sided" for v in verdicts.values())
    assert len(texts) == sum(v != "no" for v in verdicts.values())
    for name, verdict in verdicts.items():
        side = "high" if np.isnan(bounds.loc[name, "low"]) else "low"
        if verdict == "one_sided":
            assert any(t.endswith(f"${notation.number(bounds.loc[name, side])}$") for t in texts)
    words = axes[0].figure.get_supxlabel()
    assert all(f"{name}: {few.identified[name].reason}" in words for name, v in verdicts.items() if v == "no")


def test_a_profile_shows_where_it_crosses_and_where_it_is_open():
    v = np.linspace(1, 30, 33)
    values, rise = tuple(v.tolist()), tuple((1 + 0.2 * np.exp(-v / 3)).tolist())
    one = Profile("R", values, rise, 1.0, 0.02, 6.9, None, 0.9, "a rule")
    axes = figures.profile([one])[0]
    assert axes.get_title("left") == "$R$: > 6.9, open above"
    assert [line.get_marker() for line in axes.lines if line.get_marker() in ("<", ">")] == [">"]
    assert [float(c.get_segments()[0][0, 0]) for c in axes.collections] == [6.9]
    x, y = axes.lines[0].get_data()
    assert np.interp(6.9, x, y) == pytest.approx(1, abs=0.02) and axes.get_xlim()[0] > 3  # three thresholds


def test_labels_name_the_unit(tmp_path, study):
    runs = study.loc[study["role"] == "fit", ["params", "tokens", "loss"]]
    runs.assign(loss=runs["loss"] / np.log(2)).to_csv(tmp_path / "bits.csv", index=False)
    stated = {"loss": "bits/byte", "params": "1", "tokens": "1"}
    analysis.import_table(tmp_path / "bits.csv", tmp_path / "runs.csv", units=stated)
    for table in (analysis.load(tmp_path / "bits.csv", units=stated), analysis.load(tmp_path / "runs.csv")):
        found = fit("power", table, bootstrap=0)
        assert figures.law(found)[0].get_ylabel() == "Loss (nats per byte)" and found.unit in found.summary()
        assert figures.loss_against_compute(table).get_ylabel() == "Loss (nats per byte)"
    other = fit("power", runs.assign(gain=runs["loss"]), target="gain", bootstrap=0)
    assert figures.law(other)[0].get_ylabel() == "gain"
    assert figures.law(fit("power", runs, bootstrap=0))[0].get_ylabel() == "Loss (unit not stated)"


def test_one_size_warns_of_nothing():
    d = np.geomspace(1e8, 1e11, 16)
    table = pd.DataFrame({"params": 1e8, "tokens": d, "loss": 2 + 400 / d**0.3})
    figures.isoflop_curves(analysis.isoflop.minima(table))


@pytest.mark.parametrize(
    "formula", [law.formula for law in analysis.LAWS.values()] + ["L = a$ + b_c / x_y^e$"]
)
def test_formulas_can_be_typeset(formula):
    for line in style.typeset(formula).splitlines():
        MathTextParser("path").parse(line)


def test_a_design_is_full_where_it_is_done_and_hollow_where_it_is_foreseen():
    runs = pd.DataFrame({
        "params": [1e6, 1e7, 1e6, 1e6, 3e7], "tokens": [1e9, 1e8, 1e9, 4e9, 1e9],
        "flops": [6e15, 6e15, 6e15, 2.4e16, 1.8e17], "role": ["fit", "fit", "fit", "noise", "holdout"],
        "budget": [6e15, 6e15, 6e15, None, None], "done": [True, True, False, False, False],
        "foreseen": [False, False, False, True, False],
    })  # fmt: skip
    axes = design(runs)
    drawn = {
        (*map(float, at), "full" if tuple(edge[:3]) == (1, 1, 1) else "hollow" if min(face) == 1 else "pale")
        for marks in axes.collections
        for at, face, edge in zip(
            marks.get_offsets(), marks.get_facecolors(), marks.get_edgecolors(), strict=True
        )
    }
    states = ["pale", "full", "pale", "hollow", "pale"]  # of two seeds of the first cell one is done
    assert drawn == {
        (*at, state)
        for at, state in zip(zip(runs["tokens"], runs["params"], strict=True), states, strict=True)
    }
    (budget,) = [line for line in axes.lines if list(line.get_xdata()) == [1e9, 1e8]]
    assert list(budget.get_ydata()) == [1e6, 1e7]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["3 fitted at 2 cells", "1 repeated", "1 held out", "full: done (2)",
                      "hollow: foreseen (1)", "budget (FLOPs)", "$D = 20 N$"]  # fmt: skip
    chosen = design(runs.assign(budget=[6e15, 6e15, 1e15, None, None]))
    assert [line for line in chosen.lines if list(line.get_xdata()) == [1e9, 1e8]] == [], (
        "no curves, no lines"
    )
    with pytest.raises(AnalysisError, match="no column role"):
        design(runs.drop(columns="role"))
