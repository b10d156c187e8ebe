"""What vocabularies are worth, on tables whose law is known."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

import analysis
from scaling.spec.load import load_study

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "vocabulary"


@pytest.fixture
def figure(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "figure", raising=False)
    return import_module("figure")


def runs(tokenizer: str, scale: float) -> pd.DataFrame:
    """Return runs at four budgets by a law that needs scale^4 times the compute of one with scale 1."""
    cells = [(c, n) for c in (1e9, 1e10, 1e11, 1e12) for n in np.geomspace(0.03, 0.3, 6) * c**0.5]
    flops, params = map(np.array, zip(*cells, strict=True))
    tokens = flops / (6 * params)
    bits = 1 + scale * (20 / params**0.5 + 60 / tokens**0.5)
    return pd.DataFrame(
        {
            "run_id": [f"{tokenizer}-{i}" for i in range(len(cells))],
            "tokenizer": tokenizer,
            "role": "fit",
            "budget": flops,
            "flops": flops,
            "width": 8,
            "params": params,
            "tokens": tokens,
            "loss": bits * 2,
            "bits_per_byte": bits,
        }
    )


@pytest.mark.slow
def test_what_a_vocabulary_is_worth(figure: ModuleType) -> None:
    bytes_, larger, far = (
        figure.Vocabulary(name, table, analysis.fit("chinchilla", table, target="bits_per_byte", bootstrap=0))
        for name, table in (
            ("bytes", runs("bytes", 1.0)),
            ("bpe-9", runs("bpe-9", 0.9)),
            ("far", runs("far", 0.25)),
        )
    )
    assert figure.worth(larger, bytes_, 1e11) == pytest.approx(0.9**-4, rel=0.02)
    assert figure.worth(bytes_, larger, 1e11) == pytest.approx(0.9**4, rel=0.02)
    assert figure.worth(far, bytes_, 1e11) == np.inf, "256 times is more than any run had"
    text = figure.report([bytes_, larger])
    assert text.count("| bpe-9 |") == 4 and "| 1.5 x |" in text and "| above 1 x |" in text
    assert len(figure.draw([bytes_, larger]).axes) == 1


def test_the_studies_differ_in_what_they_say() -> None:
    studies = [load_study(FOLDER / f"{name}.yaml") for name in ("bytes", "bpe-1k", "bpe-4k")]
    fields = []
    for study in studies:
        written = study.model_dump(mode="json")
        own = [written.pop("study"), written["data"].pop("tokenizer")]
        own.append(written["recipe"]["optimizer"]["learning_rate"].pop("coefficient"))
        own.append(written["evaluation"].pop("tokens"))
        fields.append((own, written))
    assert fields[0][1] == fields[1][1] == fields[2][1]
    assert all(len({str(own[i]) for own, _ in fields}) > 1 for i in range(4))


@pytest.mark.slow
def test_the_reference_is_what_its_page_shows(figure: ModuleType) -> None:
    page = (figure.REFERENCE / "README.md").read_text("utf-8")
    shown = figure.report([figure.Vocabulary.load(figure.REFERENCE / name) for name in figure.NAMES])
    assert shown in page
