"""Results of lm-evaluation-harness: one row a file, a column for each metric of each task."""

from __future__ import annotations

from typing import Any

from analysis.errors import some
from analysis.readers.documents import frame_of_objects
from analysis.readers.source import Reader, Reading, Source

BESIDE = ("configs", "versions", "config", "n-shot", "higher_is_better")  # one of them is beside the results
BYTE, BITS = "/byte_perplexity", "/bits_per_byte"
MODEL = {"model_num_parameters": "params", "model_args": "model_args", "model_revision": "revision"}


def _is_results(source: Source) -> bool:
    document = source.document
    if not isinstance(document, dict) or not isinstance(document.get("results"), dict):
        return False
    parts = [*document["results"].values(), document.get("config") or {}, document.get("groups") or {}]
    return any(key in document for key in BESIDE) and all(isinstance(part, dict) for part in parts)


def _read(source: Source) -> Reading:
    document: dict[str, Any] = source.document
    config = document.get("config") or {}
    row = {"model": document.get("model_name") or config.get("model")}
    row |= {ours: config[theirs] for theirs, ours in MODEL.items() if config.get(theirs) is not None}
    notes = ["one row a file, its metrics in columns 'task/metric'"]
    for task, metrics in {**(document.get("groups") or {}), **document["results"]}.items():
        for metric, value in metrics.items():
            name, _, chosen = metric.partition(",")
            if isinstance(value, int | float):
                row[f"{task}/{name}" + ("" if chosen in ("", "none") else f",{chosen}")] = value
    same = [name for name in row if name.endswith(BYTE) and name.replace(BYTE, BITS) in row]
    if same:
        notes.append(f"left out, as its logarithm to base 2 is there: {some(map(repr, same))}")
    kept = {name: value for name, value in row.items() if name not in same}
    return Reading(frame_of_objects([kept]), tuple(notes), "results of lm-evaluation-harness")


LM_EVAL = Reader(_is_results, _read)
