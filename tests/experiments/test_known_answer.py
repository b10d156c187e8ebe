"""Fits against sources whose law is known, on tables whose fit is known too."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "known-answer"
REFERENCE = FOLDER.parents[1] / "results" / "reference" / "known-answer"
CORPUS = "{kind: santa-fe, alpha: 0.5, noise: 0}"


@pytest.fixture
def compare(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "compare", raising=False)
    return import_module("compare")


@pytest.fixture
def results(compare: ModuleType, tmp_path: Path) -> Path:
    """Runs that lose E + 40 / N^0.7 + 3 / D^0.3, E being the true entropy."""
    (tmp_path / "study.yaml").write_text(f"data:\n  corpus: {CORPUS}\n  context: 64\n")
    from scaling.corpora.santa_fe import SantaFe

    entropy = SantaFe(kind="santa-fe", alpha=0.5, noise=0).entropy(64)
    params, tokens = map(np.ravel, np.meshgrid([1e3, 3e3, 1e4, 3e4, 1e5], [1e5, 3e5, 1e6, 3e6, 1e7]))
    luck = np.random.default_rng(0).normal(0, 1e-4, params.shape)
    loss = (entropy + 40 / params**0.7 + 3 / tokens**0.3) * np.exp(luck)
    pd.DataFrame(
        {
            "run_id": [f"r{i}" for i in range(len(params))],
            "role": "fit",
            "width": np.sqrt(params).round(),
            "params": params,
            "tokens": tokens,
            "loss": loss,
            "eval_tokens": 6400,
        }
    ).to_csv(tmp_path / "runs.csv", index=False)
    return tmp_path


@pytest.mark.slow
def test_fit_and_truth_stand_side_by_side(compare: ModuleType, results: Path) -> None:
    study = compare.Study.load(results)
    assert study.free.solution["E"] == pytest.approx(study.entropy, rel=2e-3)
    assert study.told.solution["alpha"] == pytest.approx(0.7, abs=0.02)
    learner = compare.ideal(study)
    excess, runs = learner["loss"] - study.entropy, study.fitted
    terms = np.array(
        [40 / runs["params"] ** 0.7, 3 / runs["tokens"] ** 0.3]
    )  # who lacks both lacks the larger
    assert (excess < terms.sum(axis=0) * 1.02).all() and (excess > terms.max(axis=0) * 0.98).all()
    exponents = compare.oracle_exponents(study, learner)
    assert exponents["alpha"] == pytest.approx(0.5, abs=0.03)
    assert exponents["beta"] == pytest.approx(1 / 3, abs=0.03)
    rows = [
        line.split(" | ") for line in compare.report([study]).splitlines() if line.startswith("| santa-fe")
    ]
    assert [row[1] for row in rows] == ["E", "alpha", "beta"]
    assert rows[0][2] == f"{study.entropy:.4f}" and rows[0][5] == "yes"
    low, high = map(float, rows[0][4].split(" to "))
    assert low < study.entropy < high


def test_the_figure_shows_each_size_and_the_ideal_learner(compare: ModuleType, results: Path) -> None:
    study = compare.Study.load(results)
    axes = compare.draw([study, study]).axes
    assert [a.get_title("left") for a in axes[:2]] == ["santa-fe", "santa-fe"]
    ideal = [line for line in axes[0].lines if line.get_label() == "ideal learner"]
    assert len(ideal) == 1 and len(axes[0].lines) == 2 * 5 + 1
    first = ideal[0].get_ydata()[0]
    assert first == pytest.approx(study.corpus.oracle(1e5, 64) - study.entropy)


@pytest.mark.parametrize("folder", sorted(p.parent.name for p in REFERENCE.glob("*/runs.csv")))
def test_no_run_lost_less_than_the_true_entropy(compare: ModuleType, folder: str) -> None:
    """In the runs that are kept: less would be a leak of what is evaluated into what is trained on."""
    study = compare.Study.load(REFERENCE / folder)
    np.testing.assert_allclose(study.runs["loss_floor"], study.entropy, rtol=1e-12)
    assert len(study.runs) == 44
    assert (study.runs["loss"] > study.runs["loss_floor"] - 3 * study.runs["loss_se_eval"]).all()
