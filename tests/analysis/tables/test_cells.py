"""Several runs of one size and token count: the best of what was swept, all seeds."""

import numpy as np
import pandas as pd
import pytest

from analysis import AnalysisError, compare, estimate, fit, load
from analysis.hyperparameters import basins
from analysis.laws.law import Law
from analysis.tables.cells import best, factors, tuned
from analysis.tables.runs import select
from analysis.tables.table import about

TRUTH = {"E": 1.7, "A": 420.0, "B": 900.0, "alpha": 0.34, "beta": 0.30}
RATES = (0.001, 0.002, 0.004, 0.008)


def loss(n, d):
    return TRUTH["E"] + TRUTH["A"] / n ** TRUTH["alpha"] + TRUTH["B"] / d ** TRUTH["beta"]


def swept(seeds=(0,), noise=0.0, rates=RATES, best_rate=0.002, batches=False):
    """A sweep of learning rates in each of 20 cells; with a batch each, tokens end a little apart."""
    rng, rows = np.random.default_rng(0), []
    for n in (1e7, 4e7, 1.6e8, 6.4e8):
        for ratio in (5, 10, 20, 40, 80):
            for i, rate in enumerate(rates):
                for seed in seeds:
                    d = n * ratio * (1 + 0.001 * i * batches)
                    bend = 0.02 * np.log(rate / best_rate) ** 2 + noise * rng.normal()
                    rows.append((n, d, rate, seed, loss(n, n * ratio) * np.exp(bend)))
    return pd.DataFrame(rows, columns=["params", "tokens", "learning_rate", "seed", "loss"])


def near(found, **tolerance):
    return all(abs(found.solution[name] / TRUTH[name] - 1) < t for name, t in tolerance.items())


def test_of_a_sweep_the_best_of_each_cell_is_fitted():
    found = fit("chinchilla", swept(batches=True), bootstrap=0)
    assert found.objective.n == 20 and near(found, E=0.01, A=0.05, B=0.02, alpha=0.01, beta=0.01)
    (note,) = (note for note in found.notes if "learning_rate" in note)
    assert "20 of 20 cells" in note and "20 inside" in note and "0 at an end" in note
    assert "no repeats among these runs say by how much" in note
    assert [row["reason"] for row in found.excluded] == ["another learning_rate is better in its cell"] * 60


def test_all_rows_are_kept_where_it_is_asked(tmp_path):
    table = swept()
    assert fit("chinchilla", table, bootstrap=0, cells="all").objective.n == 80
    table.to_csv(tmp_path / "runs.csv", index=False)
    loaded = load(tmp_path, cells="all")
    assert fit("chinchilla", loaded, bootstrap=0).objective.n == len(select(loaded)[0]) == 80
    assert fit("chinchilla", loaded, bootstrap=0, cells="best").objective.n == 20
    assert len(select(load(tmp_path))[0]) == len(estimate("hull", load(tmp_path)).data["N"]) == 20
    for call in (lambda: load(tmp_path, cells="some"), lambda: fit("chinchilla", table, cells="some")):
        with pytest.raises(AnalysisError, match="cells='some': must be best or all"):
            call()


def test_an_optimum_at_the_end_of_what_was_tried_is_counted():
    (note,) = best(select(swept(best_rate=0.0005), cells="all")[0])[1]
    assert "0 inside what was tried and 20 at an end" in note


def test_seeds_enter_all_and_tell_the_noise_and_the_luck_of_the_best():
    table = swept(seeds=range(8), noise=0.004, rates=(0.0019, 0.002, 0.0021))
    found = fit("chinchilla", table, bootstrap=0)
    assert found.objective.n == 20 * 8
    rates, seeds = (next(n for n in found.notes if word in n) for word in ("values of", "same settings"))
    assert "all are fitted" in seeds and 0.35 < float(seeds.split("differ by ")[1].split("%")[0]) < 0.45
    luck = float(rates.split("by about ")[1].split("%")[0])
    expected = 100 * 0.004 / np.sqrt(8) * 0.846  # of the least of three alike
    assert expected / 2 < luck < 1.3 * expected
    one = fit("chinchilla", swept(seeds=range(3), noise=0.002, rates=(0.002,)), bootstrap=0)
    assert one.objective.n == 60 and not any("values of" in note for note in one.notes)


def test_corpora_are_swept_each_for_itself_and_names_of_settings_are_none():
    table = swept()
    both = pd.concat([table.assign(corpus="a"), table.assign(corpus="b", loss=1.1 * table["loss"])])
    kept, _ = select(both.reset_index(drop=True))
    assert kept.groupby("corpus").size().to_dict() == {"a": 20, "b": 20}
    named = table.assign(study=["lr" + str(x) for x in table["learning_rate"]])
    kept, left = select(named)
    assert len(kept) == 20 and len(left) == 60
    assert any("(and with it study)" in note for note in about(kept).notes)


def test_what_a_law_takes_as_input_and_what_groups_compare_is_no_hyperparameter():
    table = swept()
    tuned_law = Law("tuned", {"E": {}, "A": {"N": "alpha"}, "B": {"learning_rate": "r"}})
    assert fit(tuned_law, table, bootstrap=0).objective.n == 80
    assert fit("chinchilla", table, groups="learning_rate", own=("E",), bootstrap=0).objective.n == 80
    assert fit(Law("rate", {"A": {"learning_rate": "r"}}), table, bootstrap=0).objective.n == 80


@pytest.mark.slow
def test_of_compared_laws_one_that_takes_a_hyperparameter_keeps_all_rows():
    table = swept()
    tuned_law = Law("tuned", {"E": {}, "A": {"N": "alpha"}, "B": {"learning_rate": "r"}})
    found = compare(["chinchilla", tuned_law], table, bootstrap=0, folds=2)
    assert found.fits["chinchilla"].objective.n == 80


def test_the_best_of_a_target_that_rises_is_the_largest():
    table = swept().assign(accuracy=lambda t: 1 / t["loss"])
    found = fit("chinchilla", table, target="accuracy", bootstrap=0)
    assert {row["row"] for row in found.excluded} == {row["row"] for row in select(table)[1]}


def test_names_of_hyperparameters():
    assert all(
        map(tuned, ["lr", "peak_lr", "Learning Rate", "batchSize", "batch_tokens", "wd", "warmup_steps"])
    )
    assert not any(map(tuned, ["loss", "params", "batch_time", "train_loss_per_batch", "tokens", "width"]))
    frame = pd.DataFrame(
        {"run": list("abcdef"), "corpus": list("xxyyzz"), "n": range(6), "text": list("abcdef")}
    )
    assert factors(frame) == ["corpus"]


def test_checkpoints_are_no_sweep(tmp_path):
    table = swept().assign(run=lambda t: t["params"].astype(str))
    table.to_csv(tmp_path / "runs.csv", index=False)
    assert len(select(load(tmp_path, run="run", after=0.0))[0]) == 80


def test_a_sweep_in_the_wild(field):
    found, truth = (fit("chinchilla", load(field / "lr_pooled" / f"{name}.csv"), bootstrap=0)
                    for name in ("sweep", "best"))  # fmt: skip
    assert any("32 of 32 cells" in note for note in found.notes)
    assert found.solution == truth.solution and near(found, E=0.02, alpha=0.02, beta=0.01)


def test_basins_see_every_row(field):
    table = load(field / "basins_batch" / "lr_all.csv")
    cells = basins.find(table, batch=None, bootstrap=0).cells
    assert len(table) == cells["runs"].sum() == 30
