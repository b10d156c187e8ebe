"""``trainer_state.json`` of the Hugging Face Trainer: what it logged, one row a step."""

from __future__ import annotations

from typing import Any

from analysis.readers.documents import frame_of_objects
from analysis.readers.source import Reader, Reading, Source

MEAN = "train_loss"  # of the last entry: over the whole run
CHECKPOINT = "checkpoint-"  # the folders that Trainer makes in that of the run


def _is_state(source: Source) -> bool:
    state = source.document
    if not isinstance(state, dict) or not isinstance(state.get("log_history"), list):
        return False
    return all(isinstance(entry, dict) for entry in state["log_history"])


def _read(source: Source) -> Reading:
    entries: list[dict[str, Any]] = source.document["log_history"]
    folder = source.path.resolve().parent
    run = folder.parent.name if folder.name.startswith(CHECKPOINT) else folder.name
    steps: dict[Any, dict[str, Any]] = {}
    summaries = 0
    for entry in entries:
        summaries += MEAN in entry
        row = steps.setdefault(entry.get("step"), {"run": run})
        row |= {"train/loss" if key == "loss" else key: v for key, v in entry.items() if key != MEAN}
    if not steps:
        raise source.refusal(
            "trainer_state.json of a run that logged nothing", "give that of a later checkpoint"
        )
    notes = [
        f"{len(entries)} entries of log_history, {len(steps)} steps",
        "loss of log_history is that of training batches: column 'train/loss'",
    ]
    if summaries:
        notes.append(f"{MEAN} of the last entry left out: a mean over the whole run, no final loss")
    return Reading(
        frame_of_objects(list(steps.values())), tuple(notes), "trainer_state.json of Hugging Face Trainer"
    )


TRAINER_STATE = Reader(_is_state, _read)
