from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, basins, load
from analysis.figures.basins import basins_over, hyperparameter_laws
from analysis.fits.claims import at_level
from analysis.hyperparameters import optima, quadratic

BEND = np.array([[0.024, -0.014], [-0.014, 0.024]])  # of log loss in log lr, log batch, as on published rows
SIZES = (2.1e8, 2.7e8, 4.3e8, 5.4e8, 1.07e9)
RATIOS = (20, 53, 93, 300)


def law(n: float, d: float) -> np.ndarray:
    return np.log([1.8 * n**-0.7 * d**0.3, 0.6 * d**0.57])


def study(
    seed: int = 0, noise: float = 0.0, scatter: float = 0.0, cells: int = 20, side: int = 8
) -> pd.DataFrame:
    """A sweep of ``side`` x ``side`` in every cell, optima scattered about the law."""
    rng, rows = np.random.default_rng(seed), []
    every = [(n, n * m) for n in SIZES for m in RATIOS]
    steps = np.linspace(-2.2, 2.2, side)
    for i in np.sort(rng.permutation(len(every))[:cells]):
        n, d = every[i]
        best = law(n, d) + scatter * rng.normal(size=2)
        x = np.stack(np.meshgrid(np.log(2e-3) + steps, np.log(4e5) + steps), axis=-1).reshape(-1, 2)
        y = (
            np.log(2.3)
            + 0.5 * np.einsum("ri,ij,rj->r", x - best, BEND, x - best)
            + noise * rng.normal(size=len(x))
        )
        columns = {
            "params": n,
            "tokens": d,
            "learning_rate": np.exp(x[:, 0]),
            "batch_tokens": np.exp(x[:, 1]),
        }
        rows.append(pd.DataFrame({**columns, "loss": np.exp(y)}))
    return pd.concat(rows, ignore_index=True)


@pytest.fixture(scope="module")
def exact() -> pd.DataFrame:
    return study()


@pytest.fixture(scope="module")
def found(exact) -> basins.Basins:
    return basins.find(exact, window=0.02, bootstrap=100)


def test_horizons_in_whole_steps_are_one_cell(exact, found):
    """Training ends at a whole step, and so a little apart for batches of several sizes."""
    batch = exact["batch_tokens"]
    whole = exact.assign(tokens=(exact["tokens"] // batch + 1) * batch)
    cells = basins.find(whole, window=0.02, bootstrap=0).cells
    assert list(cells["runs"]) == list(found.cells["runs"])
    assert cells["lr"].to_numpy() == pytest.approx(found.cells["lr"].to_numpy())


@pytest.mark.parametrize("method", ["quadratic", "local"])
def test_optima_of_quadratic_basins_are_exact(exact, method):
    cells = basins.find(exact, method=method, bootstrap=0).cells
    truth = np.exp([law(n, d) for n, d in cells[["params", "tokens"]].to_numpy()])
    assert cells[["lr", "batch"]].to_numpy() == pytest.approx(truth, rel=1e-6)
    assert (cells["verdict"] == "interior").all() and cells["loss"].to_numpy() == pytest.approx(2.3)
    # +0.25 % at the edge of the ellipse d' BEND d = 2 log 1.0025
    reach = np.exp(np.sqrt(2 * np.log(1.0025) * np.linalg.inv(BEND)[0, 0]))
    assert cells["lr_factor"].to_numpy() == pytest.approx(reach)


def test_powers_of_the_laws(found):
    for name, inputs in {"lr": {"params": -0.7, "tokens": 0.3}, "batch": {"tokens": 0.57}}.items():
        powers = optima.powers(found.laws[name])
        assert powers.loc[list(inputs), "estimate"].to_dict() == pytest.approx(inputs, abs=1e-6)
        assert (powers["low"] <= powers["estimate"] + 1e-9).all() and (powers["verdict"] == "yes").all()
    there = found.predict(N=1e10, D=[2e11, 2e12])
    assert np.log(there[["lr", "batch"]].to_numpy()) == pytest.approx(
        np.array([law(1e10, d) for d in (2e11, 2e12)])
    )
    assert there["lr_extrapolation"].iloc[1] == pytest.approx(1e10 / 1.07e9)
    assert "lr = 1.8 N^-0.700" in str(found) and "20 interior" in str(found)


def test_what_other_values_cost(found, exact):
    """Measured: that of the run which is there. By the quadratic: the formula."""
    runs = exact[(exact["params"] == SIZES[0]) & (exact["tokens"] == SIZES[0] * RATIOS[0])]
    run = runs.iloc[13]
    cost = found.cost({"lr": run["learning_rate"], "batch": run["batch_tokens"]}).iloc[0]
    assert cost["cost"] == pytest.approx(run["loss"] / runs["loss"].min() - 1)
    assert cost["quadratic"] == pytest.approx(run["loss"] / 2.3 - 1)
    assert found.cost()["quadratic"].to_numpy() == pytest.approx(0, abs=1e-9)
    assert found.cost({"lr": 1.0, "batch": 4e5})["cost"].isna().all()
    few = replace(found, runs=found.runs.groupby("cell").head(2))
    assert few.cost()["cost"].isna().all()


def test_an_optimum_at_the_end_of_a_sweep_is_a_bound(exact):
    cell = (exact["params"] == SIZES[-1]) & (exact["tokens"] == SIZES[-1] * RATIOS[0])
    cut = exact[~cell | (exact["learning_rate"] > 1.5e-3)]
    found = basins.find(cut, bootstrap=0)
    row = found.cells.iloc[16]
    assert row["verdict"] == "edge" and row["reason"].startswith("lr at the low end of the sweep")
    assert found.lr.objective.n == 19 and "params = 1.07B" in found.lr.excluded[0]["row"]
    assert "1 of 20 cells" in str(found) and "sweep wider" in str(found)
    kept = basins.find(cut, bootstrap=0, edges=True)
    assert kept.lr.objective.n == 20 and kept.cells["lr"].iloc[16] == pytest.approx(
        cut.loc[cell, "learning_rate"].min()
    )
    best = basins.find(cut, bootstrap=0, method="argmin").cells
    assert best["verdict"].iloc[16] == "edge" and best["lr"].iloc[16] == kept.cells["lr"].iloc[16]


@pytest.mark.parametrize(
    ("bend", "verdict"), [((1, -1), "saddle"), ((-1, -1), "not convex"), ((1, 1), "interior")]
)
def test_what_has_no_minimum_is_said(bend, verdict):
    x = np.stack(np.meshgrid(np.arange(-2.0, 3), np.arange(-2.0, 3)), axis=-1).reshape(-1, 2)
    y = (np.array(bend) * x**2).sum(axis=1)
    ends = quadratic.find(x, y, ("lr", "batch"), "quadratic", None, 0.3)
    assert (ends.verdict == "edge") is (verdict != "interior") and (verdict in ends.reason or not ends.reason)
    y[12] -= 10.0  # a lucky run in the middle: the best is at no end
    assert quadratic.find(x, y, ("lr", "batch"), "quadratic", None, 0.3).verdict == verdict
    few = quadratic.find(x[x[:, 1] == 0], y[x[:, 1] == 0], ("lr", "batch"), "quadratic", None, 0.3)
    assert few.verdict == "too few" and few.reason == "1 values of batch; a minimum needs 3"


@pytest.mark.parametrize("method", ["quadratic", "local"])
def test_the_standard_error_of_an_optimum_is_its_spread(method):
    rng, found = np.random.default_rng(0), []
    x = np.stack(np.meshgrid(*[np.linspace(-1, 1, 7)] * 2), axis=-1).reshape(-1, 2)
    y = 0.5 * np.einsum("ri,ij,rj->r", x - 0.2, BEND, x - 0.2)
    for _ in range(100):
        noisy = y + 0.001 * rng.normal(size=len(y))
        basin = quadratic.find(x, noisy, ("lr", "batch"), method, None, 0.6)
        if basin.verdict == "interior":
            found.append([*basin.at, *np.sqrt(np.diag(basin.covariance))])
    at, se = np.split(np.array(found), 2, axis=1)
    assert len(found) > 90 and at.mean(axis=0) == pytest.approx(0.2, abs=0.02)
    assert np.sqrt((se**2).mean(axis=0)) / at.std(axis=0) == pytest.approx(1, abs=0.25)


def test_scatter_beyond_errors():
    rng = np.random.default_rng(1)
    x, se = np.column_stack([np.ones(400), rng.normal(size=400)]), rng.uniform(0.02, 0.2, 400)
    for tau in (0.0, 0.15):
        y = x @ [1.0, 2.0] + np.hypot(se, tau) * rng.normal(size=400)
        assert optima.scatter(y, x, se) == pytest.approx(tau, abs=0.03)


def test_precise_optima_weigh_more():
    d = np.geomspace(1e9, 1e11, 8)
    cells = pd.DataFrame({"tokens": d, "batch": d**0.5, "batch_se": 0.01})
    cells.loc[7, ["batch", "batch_se"]] = [3 * 1e11**0.5, 2.0]
    found, tau = optima.power_law("batch", cells, ["tokens"], bootstrap=0)
    assert found.solution["e_tokens"] == pytest.approx(-0.5, abs=1e-3) and tau < 0.05
    assert abs(optima.power_law("batch", cells.drop(columns="batch_se"), ["tokens"], bootstrap=0)[0]
               .solution["e_tokens"] + 0.5) > 0.05  # fmt: skip


def test_the_interval_of_a_power_near_zero_has_both_signs():
    rng, d = np.random.default_rng(3), np.geomspace(1e9, 1e11, 12)
    cells = pd.DataFrame({"tokens": d, "lr": np.exp(0.3 * rng.normal(size=12)) * d**-0.02})
    found, _ = optima.power_law("lr", cells, ["tokens"])
    for level in (0.9, 0.95):
        low, high = at_level(found, level)["e_tokens"]
        assert -0.4 < low < 0 < high < 0.4


def test_json_keeps_everything(found, exact):
    again = basins.Basins.from_json(found.to_json())
    assert again.to_json() == found.to_json() and str(again) == str(found)
    pd.testing.assert_frame_equal(again.predict(N=1e10, D=1e12), found.predict(N=1e10, D=1e12))
    best = basins.find(exact, method="argmin", bootstrap=0)
    pd.testing.assert_frame_equal(
        basins.Basins.from_json(best.to_json()).cells, best.cells, check_dtype=False
    )
    for broken in ("{", "[]", '{"schema": 0}', '{"schema": 1}'):
        with pytest.raises(AnalysisError, match="basins"):
            basins.Basins.from_json(broken)


def test_one_hyperparameter_and_other_columns(exact):
    one = exact[np.isclose(exact["batch_tokens"], np.exp(np.log(4e5) + 2.2 / 7))].assign(kind="a")
    one = one.assign(flops=6 * one["params"] * one["tokens"])
    found = basins.find(one, batch=None, by=("flops", "kind"), lr_on=("flops",), bootstrap=0)
    assert list(found.laws) == ["lr"] and found.lr.law.inputs == ("flops",)
    with pytest.raises(AnalysisError, match="no law of 'batch'"):
        _ = found.batch


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"lr": "eta"}, "'eta' is missing"),
        ({"lr": None, "batch": None}, "name the column"),
        ({"by": ("params",)}, "batch_on"),
        ({"by": ("params", "tokens", "width")}, "'width' is missing"),
        ({"method": "spline"}, "spline"),
        ({"window": -1.0}, "window"),
        ({"span": 0.0}, "span"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"cluster": "seed"}, "cluster"),
        ({"where": "params > 1e12"}, "left out"),
    ],
)
def test_bad_requests_are_named(exact, asked, message):
    with pytest.raises(AnalysisError, match=message):
        basins.find(exact, bootstrap=0, **asked)


def test_bad_predictions_are_named(found):
    for inputs in (
        {},
        {"N": 1e9},
        {"N": 1e9, "M": 2},
        {"N": [1e9, 2e9], "D": [1, 2, 3]},
        {"N": "x", "D": 1e9},
    ):
        with pytest.raises(AnalysisError, match="prediction at"):
            found.predict(**inputs)
    with pytest.raises(AnalysisError, match="batch missing"):
        found.cost({"lr": 1e-3})


def test_diverged_runs_and_too_few_cells(exact):
    broken = exact.assign(loss=exact["loss"].where(exact["learning_rate"] < 1e-2, np.nan))
    found = basins.find(broken, bootstrap=0)
    assert len(found.excluded) == exact["learning_rate"].ge(1e-2).sum() and "left out" in str(found)
    assert found.status.code == "ok"
    one = basins.find(exact[exact["params"] == SIZES[0]], bootstrap=0)
    assert one.status.code == "not_identified" and "distinct value" in str(one)


def test_figures(found):
    over, laws = basins_over(found, "batch"), hyperparameter_laws(found)
    assert len(over) == 20
    assert [axes.get_xlabel() for axes in laws] == [
        "Parameters $N$",
        "Training tokens $D$",
        "Training tokens $D$",
    ]
    stars = [line for line in over[0].lines if line.get_marker() == "*"]
    assert stars[0].get_xdata()[0] == pytest.approx(found.cells["batch"].iloc[0])


@pytest.mark.slow
@pytest.mark.parametrize(("cells", "method"), [(12, "quadratic"), (17, "quadratic"), (14, "argmin")])
def test_intervals_cover_through_both_stages(cells, method):
    """Nominal 90 %, 200 studies; the standard error of a share is 2 %."""
    hits: dict[str, list[bool]] = {}
    truth = {"lr": {"params": -0.7, "tokens": 0.3}, "batch": {"tokens": 0.57}}
    n, d = 1e10, 1e12
    for seed in range(200):
        table = study(seed, noise=0.001, scatter=0.1, cells=cells)
        found = basins.find(table, method=method, window=0.02, bootstrap=200, seed=seed)
        for name, powers in truth.items():
            for x, value in powers.items():
                low, high = at_level(found.laws[name], 0.9)[f"e_{x}"]
                hits.setdefault(f"{name} {x}", []).append(low <= -value <= high)
        at = found.predict(N=n, D=d).iloc[0]
        for name, value in zip(truth, np.exp(law(n, d)), strict=True):
            hits.setdefault(f"{name} far", []).append(at[f"{name}_low"] <= value <= at[f"{name}_high"])
    shares = {name: float(np.mean(hit)) for name, hit in hits.items()}
    assert min(shares.values()) >= 0.86, shares
    print(cells, method, shares)


def test_a_batch_that_is_constant_is_held(field):
    found = basins.find(load(field / "basins_batch" / "lr_all.csv"))
    assert set(found.columns) == {"lr"} and set(found.cells["verdict"]) == {"interior"}
    assert "batch_tokens has one value in every cell: it is held, not tuned" in found.notes


def one_batch(rates, best=3e-3):
    """Learning rates in each of four cells, at one batch."""
    rows = [(n, 20 * n, rate, 2**17, 3 * n**-0.05 * np.exp(0.05 * np.log(rate / best) ** 2))
            for n in (1e7, 3e7, 1e8, 3e8) for rate in rates]  # fmt: skip
    return pd.DataFrame(rows, columns=["params", "tokens", "learning_rate", "batch_tokens", "loss"])


def test_what_was_not_swept_or_has_no_interior_optimum_is_said():
    found = basins.find(one_batch((1e-3, 1.5e-3, 2e-3, 4e-3, 6e-3, 8e-3)), lr_on=("params",))
    assert set(found.columns) == {"lr"} and np.allclose(found.cells["lr"], 3e-3, rtol=1e-3)
    with pytest.raises(AnalysisError, match=r"batch_tokens: one value in every cell .* nothing to tune"):
        basins.find(one_batch((1e-3,)))
    low = one_batch((1e-3, 1.2e-3, 1.5e-3, 1.8e-3, 2e-3, 2.5e-3), best=1e-2)
    with pytest.raises(AnalysisError) as error:
        basins.find(low, lr_on=("params",))
    message = str(error.value)
    assert "none of 4 cells has an interior optimum (4 edge: lr at the high end of the sweep)" in message
    assert message.endswith("edges=True")
    assert len(basins.find(low, lr_on=("params",), edges=True).laws["lr"].data["N"]) == 4
    with pytest.raises(AnalysisError, match=r"none of 4 cells .* sweep more values in each cell"):
        basins.find(one_batch((1e-3, 2e-3)))
