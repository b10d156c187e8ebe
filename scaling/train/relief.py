"""What a job does when it runs out of memory: it goes on from its checkpoints, laid out in smaller pieces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax

from scaling.counts.lowering import Lowering, data_parallel, smaller
from scaling.files import write_json
from scaling.run import Run
from scaling.store.failure import kind_of
from scaling.store.lease import Lease
from scaling.store.records import JobLowering, read
from scaling.train.process import Relieved

FILE = "lowering.json"


def lowering_now(folder: Path, asked: Lowering) -> Lowering:
    """Return how the job in a folder is laid out: as asked, or as it went over to since, in whatever pack."""
    gone_over = read(JobLowering, folder / FILE)
    if gone_over and replace(gone_over.asked, pack=asked.pack) == asked:
        return replace(gone_over.used, pack=asked.pack)
    return asked


def relieve(folder: Path, asked: Lowering, run: Run, lease: Lease, error: Exception) -> None:
    """Write down a smaller lowering where memory ran out and there is one.

    Args:
        folder: of the job.
        asked: how it was asked to be laid out.
        run: of the job.
        lease: of the job.
        error: that ended the program.

    Raises:
        Relieved: it is to go on in smaller pieces.
    """
    if kind_of(error) != "out_of_memory":
        return
    now, sequences = lowering_now(folder, asked), run.batch_sequences
    mesh = now.mesh or data_parallel(sequences, len(jax.devices()))
    following = smaller(now, run.shape, sequences, mesh.batch_parts)
    if following is None:
        return
    lease.check()
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    write_json(folder / FILE, JobLowering(asked=asked, used=following, reason=reason).to_json())
    print(
        f"out of memory: goes on from its checkpoints with {_changes(now, following)} ({reason})", flush=True
    )
    raise Relieved from error


def _changes(before: Lowering, after: Lowering) -> str:
    changed = {name: value for name, value in vars(after).items() if value != getattr(before, name)}
    return ", ".join(f"{name} = {value}" for name, value in changed.items())
