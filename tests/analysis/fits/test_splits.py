"""Columns that split a table are named first; those that only class it are not."""

import numpy as np
import pandas as pd
import pytest

from analysis import Fit, compare, fit, load
from analysis.fits.splits import advice
from scaling.cli.arguments import as_option
from scaling.cli.predict_text import about

TRUTH = {"E": 1.7, "A": 420.0, "B": 900.0, "alpha": 0.34, "beta": 0.30}


def runs(shift=0.0, sizes=(1e7, 4e7, 1.6e8, 6.4e8), seed=0, noise=0.003, **columns):
    rng, rows = np.random.default_rng(seed), []
    for n in sizes:
        for ratio in (5, 10, 20, 40, 80):
            d = n * ratio
            loss = TRUTH["E"] + TRUTH["A"] / n ** TRUTH["alpha"] + TRUTH["B"] / d ** TRUTH["beta"]
            rows.append((n, d, loss * np.exp(shift + noise * rng.normal())))
    return pd.DataFrame(rows, columns=["params", "tokens", "loss"]).assign(**columns)


def pooled(column="corpus", names=("web", "code"), apart=0.05):
    return pd.concat([runs(i * apart, seed=i, **{column: name}) for i, name in enumerate(names)])


def split_by(table, **options):
    found = fit("chinchilla", table.reset_index(drop=True), bootstrap=0, **options)
    return [one.columns for one in found.splits]


def test_a_corpus_that_splits_a_table_is_named_before_the_law():
    found = fit("chinchilla", pooled().reset_index(drop=True), bootstrap=0)
    (split,) = found.splits
    assert split.columns == ("corpus",) and split.values == 2 and split.share > 0.9
    first, second = found.summary().split("\n")[:2]
    assert first.startswith("`corpus` splits this table: its 2 values explain 9")
    assert "where='corpus == \"web\"'" in first and "groups='corpus'" in first
    assert second.startswith("chinchilla: ")
    typed = found.summary(spell=as_option).split("\n")[0]
    assert "--where 'corpus == \"web\"'" in typed and "--groups corpus" in typed
    assert Fit.from_json(found.to_json()).splits == found.splits
    assert about(found)[0] == typed  # of predict and optimal
    both = compare(["chinchilla", "tied"], pooled().reset_index(drop=True), bootstrap=0)
    assert both.summary(spell=as_option).startswith("`corpus` splits this table")


def test_the_advice_followed_gives_the_law_of_one():
    table = pooled(names=("web", "my code"), column="what it is").reset_index(drop=True)
    (split,) = fit("chinchilla", table, bootstrap=0).splits
    where, groups = (part.value for part in advice(split) if not isinstance(part, str))
    one = fit("chinchilla", table, where=where, bootstrap=0)
    assert not one.splits and abs(one.solution["E"] / TRUTH["E"] - 1) < 0.05
    assert not fit("chinchilla", table, groups=groups, bootstrap=0).splits


@pytest.mark.parametrize("kind", [(True, False), (0, 1), (0.5, 2.5)])
def test_codes_of_a_corpus_count_where_its_runs_share_cells(kind):
    assert split_by(pooled(names=kind)) == [("corpus",)]


def test_families_of_sizes_of_their_own_are_told_apart():
    first, second = (1e7, 4e7, 1.6e8, 6.4e8), (2e7, 8e7, 3.2e8, 1.2e9)
    table = pd.concat([runs(0.0, first, family="a"), runs(0.06, second, seed=1, family="b")])
    assert split_by(table) == [("family",)]


def test_several_columns_that_split_a_table_together_are_named_together():
    many = []
    for i in range(64):
        kind = {f"choice{k}": "ab"[i >> k & 1] for k in range(6)}
        many.append(runs(0.01 * sum(value == "a" for value in kind.values()), seed=i, **kind))
    found = fit("chinchilla", pd.concat(many).reset_index(drop=True), bootstrap=0)
    (split,) = found.splits
    assert set(split.columns) == {f"choice{k}" for k in range(6)} and split.values == 64 and split.share > 0.8
    assert "choice0 == " in found.summary().split("\n")[0] and "groups=" not in found.summary()


def test_what_only_names_sizes_budgets_seeds_or_chance_splits_nothing():
    table = runs()
    rng = np.random.default_rng(3)
    named = table.assign(
        model=[f"{n:.0e}" for n in table["params"]],
        scale=np.where(table["params"] > 1e8, "large", "small"),
        stage=[f"{r:g}x" for r in table["tokens"] / table["params"]],
        host=rng.choice(["a", "b"], len(table)),
        node=rng.choice(["x", "y", "z"], len(table)),
        ratio=table["tokens"] / table["params"],
        seed=rng.integers(0, 2, len(table)),
    )
    assert split_by(named) == []
    assert split_by(pooled(apart=0.0)) == []


def test_columns_that_the_fit_takes_account_of_split_nothing():
    assert split_by(pooled(), groups="corpus") == []
    assert split_by(pooled(), cluster="corpus") == []


@pytest.mark.slow
def test_configurations_and_subsets_of_published_tables_are_named(published):
    found = fit("chinchilla", load(published / "porian" / "runs.csv"), bootstrap=0)
    assert {"warmup", "dataset"} <= set(found.splits[0].columns)
    found = fit("chinchilla", load(published / "gemstones" / "runs.csv", cells="all"), bootstrap=0)
    assert [one.columns for one in found.splits] == [("subset",)]
