"""Small studies and a data index that needs no data."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from scaling.canonical import canonical_json
from scaling.corpora.content import StoredContent
from scaling.corpora.quotas import BLOCK
from scaling.counts.lowering import Lowering
from scaling.data.index import DataIndex, IndexedSource
from scaling.files import write_json
from scaling.plan.expand import make_plan
from scaling.plan.plan import Plan, PlannedRun
from scaling.spec.load import study_from_dict
from scaling.spec.sections import Data
from scaling.store.folder import ResultsFolder
from scaling.tokenizers.base import TokenizerFacts

PLAIN = """\
study: s
data: {corpus: state-of-the-union, context: 64}
family: {kind: width-dial, depth: 2, widths: [16, 32], head_dim: 8}
recipe:
  optimizer: {kind: adamw, learning_rate: 0.01}
  schedule: {kind: wsd}
  batch_tokens: 256
design: {kind: grid, steps: [500, 1000]}
"""
"""The text of a spec of a few lines."""

BASE: dict[str, Any] = {
    "study": "s",
    "data": {"corpus": "state-of-the-union", "context": 64},
    "family": {"kind": "width-dial", "depth": 2, "widths": [16, 32], "head_dim": 8},
    "recipe": {
        "optimizer": {
            "kind": "adamw",
            "learning_rate": {"kind": "power", "of": "width", "coefficient": 0.2, "exponent": -1},
        },
        "schedule": {"kind": "wsd", "warmup": "80 steps", "decay": "20 %"},
        "batch_tokens": 256,
    },
    "design": {"kind": "grid", "steps": [500, 1000]},
}


def fake_index(train_windows: int = 1000, context: int = 64) -> DataIndex:
    return DataIndex(
        content=StoredContent(kind="stored", sources=(), sets=()),
        context=context,
        corpus="c",
        tokenizer=TokenizerFacts(name="bytes", vocab_size=256, separator=0, dtype="uint8"),
        fingerprint="f" * 12,
        eval_id="e" * 12,
        sources=(IndexedSource("c", None, BLOCK, train_windows, train_windows),),
        eval_documents=(),
        stores={},
    )


def fake_index_of(data: Data) -> DataIndex:
    """An index for each section ``data``, as big as the shipped corpus."""
    content = StoredContent(kind="stored", sources=(), sets=(), unique_tokens=data.unique_tokens)
    return replace(fake_index(150_000, data.context), content=content)


def changed(**changes: Any) -> dict[str, Any]:
    """BASE with values at dotted paths (``recipe__schedule=...``) replaced."""
    raw = deepcopy(BASE)
    for name, value in changes.items():
        *parents, last = name.split("__")
        node = raw
        for part in parents:
            node = node[part]
        node[last] = value
    return raw


def plan_of(**changes: Any) -> Plan:
    return make_plan(study_from_dict(changed(**changes)), fake_index())


def record_run(
    folder: Path,
    planned: PlannedRun,
    lowering: Lowering | None = None,
    status: str = "ok",
    eval_id: str = "e" * 12,
) -> None:
    """Write the files of a run that ended after 50 s on an H200, into a results folder."""
    run = planned.built_in
    unknown = ("status_reason", "loss", "loss_se_eval", "bits_per_byte", "eval_tokens", "train_loss")
    result = {
        **dict.fromkeys((*unknown, "document_losses")),
        **{"status": status, "eval_id": eval_id, "steps": run.steps, "tokens": run.tokens},
        **{"unique_tokens": run.tokens, "epochs": 1.0, "params": vars(run.counts)},
    }
    laid_out = lowering or Lowering()
    mesh = laid_out.mesh and vars(laid_out.mesh)
    execution = {
        **{"device": "NVIDIA H200", "platform": "gpu", "wall_seconds": 50.0},
        "lowering": {**vars(laid_out), "mesh": mesh},
    }
    path = ResultsFolder(folder).run_dir(planned.run_id)
    path.mkdir(parents=True)
    (path / "run.json").write_text(canonical_json(run))
    record = {"schema": 1, "run_id": planned.run_id, "result": result, "execution": execution}
    write_json(path / "record.json", record)
