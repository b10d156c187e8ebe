"""What a job does when it runs out of memory: it goes on from its checkpoints, laid out in smaller pieces."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import jax

from scaling.counts.lowering import Lowering, data_parallel, smaller
from scaling.files import write_json
from scaling.run import Run
from scaling.store.documents import read
from scaling.store.failure import RELIEVED, kind_of
from scaling.store.folder import LOWERING
from scaling.store.lease import Lease
from scaling.store.records import JobLowering
from scaling.train.hosts import ALONE, Hosts
from scaling.train.process import Relieved


@dataclass(frozen=True)
class Relief:
    """What the job in ``folder`` goes over to when it runs out of memory. Its runs are of the shape and the
    batch of ``run``; ``asked`` is how it was asked to be laid out."""

    folder: Path
    asked: Lowering
    run: Run
    lease: Lease
    hosts: Hosts = ALONE

    @cached_property
    def now(self) -> Lowering:
        """How the job is laid out: as asked, or as it went over to since, in whatever pack."""
        gone_over = read(JobLowering, self.folder / LOWERING)
        if gone_over and replace(gone_over.asked, pack=self.asked.pack) == self.asked:
            return replace(gone_over.used, pack=self.asked.pack)
        return self.asked

    @cached_property
    def following(self) -> Lowering | None:
        """What holds less than that; None: nothing does."""
        mesh = self.now.mesh or data_parallel(self.run.batch_sequences, len(jax.devices()))
        return smaller(self.now, self.run.shape, self.run.batch_sequences, mesh.batch_parts)

    def after(self, error: Exception) -> None:
        """Write down a smaller lowering where memory ran out and there is one. One of several hosts ends this
        process then: the others may wait in a collective, which only their end ends.

        Raises:
            Relieved: the job is to go on in smaller pieces.
        """
        if kind_of(error) != "out_of_memory" or self.following is None:
            return
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        if self.hosts.leads:
            self.write(reason)
        self.hosts.leave(RELIEVED, reason)
        raise Relieved from error

    def write(self, reason: str) -> None:
        """Write down what the job goes over to; again is the same as once."""
        following = self.following
        assert following is not None, "a host that sees no smaller lowering fails"
        self.lease.check()
        content = JobLowering(asked=self.asked, used=following, reason=reason)
        write_json(self.folder / LOWERING, content.to_json())
        changes = _changes(self.now, following)
        print(f"out of memory: goes on from its checkpoints with {changes} ({reason})", flush=True)


def _changes(before: Lowering, after: Lowering) -> str:
    changed = {name: value for name, value in vars(after).items() if value != getattr(before, name)}
    return ", ".join(f"{name} = {value}" for name, value in changed.items())
