"""The specs of experiments/data plan, and train, on tiny files that are made here."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zstandard

from scaling.data.index import index_of
from scaling.data.store import open_windows
from scaling.data.stores import Stores
from scaling.plan.expand import plan_spec
from scaling.study import run_study
from scaling.tokenizers.bpe import Bpe
from tests.data.fakes import words

SPECS = Path(__file__).resolve().parents[2] / "experiments" / "data"
NAMES = sorted(path.stem for path in SPECS.glob("*.yaml"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything that the specs name: sixty documents each of made-up words, in files of every kind."""
    monkeypatch.setenv("SCALING_CACHE", str(tmp_path / "cache"))
    texts = [words(i, 120).decode() for i in range(240)]
    for i, text in enumerate(texts[:60]):
        (tmp_path / "notes" / str(i % 3)).mkdir(parents=True, exist_ok=True)
        (tmp_path / "notes" / str(i % 3) / f"{i}.txt").write_text(text)
    for i, text in enumerate(texts[60:80]):
        (tmp_path / "letters").mkdir(exist_ok=True)
        (tmp_path / "letters" / f"{i}.txt").write_text(text)
    (tmp_path / "pages").mkdir()
    lines = "\n".join(json.dumps({"page": {"body": text}}) for text in texts[80:140])
    (tmp_path / "pages" / "a.jsonl.zst").write_bytes(zstandard.compress(lines.encode()))
    for name in ("rows", "my_set"):
        (tmp_path / name).mkdir()
        pd.DataFrame({"text": texts[140:200]}).to_parquet(tmp_path / name / "a.parquet")
    Bpe(kind="bpe", vocab_size=300).prepared(
        tmp_path, tmp_path / "made", "0" * 64, lambda: [text.encode() for text in texts]
    ).rename(tmp_path / "tokenizer.json")  # type: ignore[union-attr]
    tokens = np.random.default_rng(0).integers(0, 1000, (60, 700), np.uint16)
    tokens[:, -1] = 50256
    tokens.tofile(tmp_path / "train_0.bin")
    for name in NAMES:
        shutil.copy(SPECS / f"{name}.yaml", tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_a_spec_is_planned_and_gives_windows(folder: Path, name: str) -> None:
    _, plan = plan_spec(folder / f"{name}.yaml", stores=Stores())
    assert plan.data.content is not None and plan.runs
    windows = open_windows(index_of(plan.data.content, plan.data.context))
    batches = windows.train_batches(0, 0, 3, 4)
    assert batches.shape == (3, 4, 65) and 0 <= batches.min() < batches.max() < windows.index.vocab_size
    evaluated = windows.eval_windows()
    assert evaluated.weights.sum() == windows.index.eval_tokens_used >= 4096


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_spec_is_trained(folder: Path, name: str) -> None:
    design = "design={kind: grid, steps: [40]}"
    changes = [design, "family.widths=[8]", "recipe.schedule={kind: constant, warmup: 4 steps}"]
    _, plan = plan_spec(folder / f"{name}.yaml", changes, Stores())
    run_study(plan, folder / "results", workers=1)
    [row] = pd.read_csv(folder / "results" / "runs.csv").to_dict("records")
    assert row["status"] == "ok" and 0 < row["loss"] < 12
    knows_bytes = plan.data.content is not None and plan.data.content.kind == "stored"
    assert (row["bits_per_byte"] > 0) == knows_bytes
    if name == "mixture":
        assert {"loss/notes", "loss/pages", "loss/letters", "tokens/pages", "epochs/notes"} <= row.keys()
        assert row["tokens/notes"] + row["tokens/pages"] == row["tokens"]
    if name == "generated":
        assert row["loss"] > row["loss_floor"] > 0
