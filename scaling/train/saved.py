"""What lies in a checkpoint: a state as a tree of named arrays, and how it is read, whole or in part."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from scaling.counts.shape import Shape, parameter_table
from scaling.errors import Complaint, UserError
from scaling.model.roles import Params
from scaling.store.records import JobRun
from scaling.train.averages import Averages, Carried, at_the_end
from scaling.train.manifest import damage, manifest_of
from scaling.train.step import TrainState

SHOWN = 8  # arrays named in a message


def tree_of(state: TrainState, sums: Sequence[Params]) -> dict[str, Any]:
    """Return what is written: the fields of a state, and where there are any, averages by their places."""
    tree = state._asdict()
    parts = {"emas": tree.pop("emas"), "sums": sums}
    return tree | {name: {str(i): p for i, p in enumerate(part)} for name, part in parts.items() if part}


def carried_in(tree: dict[str, Any], kept: Averages, wanted: Averages) -> Carried:
    """Invert :func:`tree_of`; averages that are not wanted are left out."""
    emas, sums = tree.pop("emas", {}), tree.pop("sums", {})
    state = TrainState(**tree, emas=tuple(emas[str(kept.decays.index(decay))] for decay in wanted.decays))
    by_key = {key: sums[str(i)] for i, key in enumerate(kept.merges)}
    return Carried(state, {key: total for key, total in by_key.items() if key in wanted.merges})


def weights_of(place: Path, shape: Shape) -> dict[str, np.ndarray]:
    """Return the parameters in a checkpoint, on the host; nothing else of it is read into memory.

    Raises:
        UserError: it is damaged.
    """
    _require_whole(place)
    return _on_host(place, shape, Averages())["params"]


def averages_in(place: Path, member: JobRun) -> dict[str, Params]:
    """Return the averages of a run's weights that its final checkpoint has, by name.

    Raises:
        UserError: it is damaged.
    """
    _require_whole(place)
    kept = averages_at(place)
    tree = _on_host(place, member.run.shape, kept)
    tree |= {"moments": (), "step": member.run.steps, "ok": True, "smooth_loss": 0.0}
    return dict(at_the_end(member, carried_in(tree, kept, kept), kept))


def averages_at(place: Path) -> Averages:
    """Return what a checkpoint averages; nothing, where there is no whole one."""
    try:
        manifest = manifest_of(place)
    except UserError:
        return Averages()
    return manifest.averages if manifest else Averages()


def _require_whole(place: Path) -> None:
    if how := damage(place):
        raise UserError(Complaint(f"damaged checkpoint: {how}", str(place), "train the run again"))


def _on_host(place: Path, shape: Shape, averages: Averages) -> dict[str, Any]:
    """Read weights and ``averages`` of them, and nothing else, as they lie in :func:`tree_of`."""
    names = dict.fromkeys(parameter_table(shape), 0)
    item: dict[str, Any] = {"params": names}
    for part, count in (("emas", len(averages.decays)), ("sums", len(averages.merges))):
        item |= {part: {str(i): names for i in range(count)}} if count else {}
    kinds = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), item)
    args = ocp.args.PyTreeRestore(item=item, restore_args=kinds, partial_restore=True)
    with ocp.Checkpointer(ocp.PyTreeCheckpointHandler()) as orbax:
        return orbax.restore(place / "state", args=args)


def require_same(place: Path, wanted: dict[str, Any]) -> None:
    """Compare the arrays of a checkpoint with those of a state, and name the ones that differ."""
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as orbax:
        written = _leaves(orbax.metadata(place / "state").item_metadata)
    needed = _leaves(wanted)
    differ = [name for name in written.keys() | needed.keys() if written.get(name) != needed.get(name)]
    differ.sort(key=lambda name: (not name.startswith("params/"), name))  # parameters say it best
    if differ:
        lines = [
            f"{name}: {written.get(name, 'absent')} there, {needed.get(name, 'absent')} wanted"
            for name in differ
        ]
        more = f"; and {len(lines) - SHOWN} others" if len(lines) > SHOWN else ""
        raise UserError(
            Complaint(
                f"checkpoint of another model or optimizer: {'; '.join(lines[:SHOWN])}{more}",
                str(place),
                "remove it to train from the one before it, or from the start",
            )
        )


def _leaves(tree: Any) -> dict[str, str]:
    """Describe the arrays of a tree by name: type and shape."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): f"{leaf.dtype}{list(leaf.shape)}"
        for path, leaf in jax.tree.leaves_with_path(tree)
    }
