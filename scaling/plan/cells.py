"""Which cells of a design are trained, where sizes and FLOPs decide that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from scaling.counts.model import Model, counts_of, sequence_flops
from scaling.plan.scales import tokens_asked
from scaling.plan.settings import Setting
from scaling.spec.designs.cells import Point
from scaling.spec.designs.design import Candidate
from scaling.spec.designs.kinds import Design


@dataclass(frozen=True)
class Cells:
    """The cells of a design, with the sizes of each family on each data."""

    design: Design
    _left_out: dict[tuple[int, int], Mapping[Point, str]] = field(
        default_factory=dict[tuple[int, int], Mapping[Point, str]]
    )
    _notes: dict[str, None] = field(default_factory=dict[str, None])

    def left_out(self, setting: Setting) -> Mapping[Point, str]:
        """Return the points that are not trained, and why; ``setting`` must outlive this."""
        key = id(setting.family), id(setting.data)
        if key not in self._left_out:
            candidates = list(self._candidates(setting)) if self.design.narrows else []
            self._left_out[key] = self.design.left_out(candidates) if candidates else {}
            self._notes.update(dict.fromkeys(self.design.notes(candidates) if candidates else ()))
        return self._left_out[key]

    def trained(self, setting: Setting) -> Iterator[tuple[Point, Model]]:
        """Yield the points that are trained in a setting, before short runs are left out."""
        left_out, changes = self.left_out(setting), setting.choice.changes
        for point in self.design.points(setting.family):
            if point not in left_out and all(change in changes for change in point.changes):
                yield point, setting.shape(point.size)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of the plan should know of all that was looked at."""
        return tuple(self._notes)

    def _candidates(self, setting: Setting) -> Iterator[Candidate]:
        for point in self.design.points(setting.family):
            shape = setting.shape(point.size)
            tokens, counts = tokens_asked(point, shape), counts_of(shape)
            assert tokens is not None, "a design that narrows gives no lengths in steps"
            flops = tokens * sequence_flops(shape) / shape.context
            yield Candidate(point, counts.total, counts.body, tokens, flops)
