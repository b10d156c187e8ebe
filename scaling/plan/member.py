"""The next run of a study: the member of its family nearest to a size, trained for a compute."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from scaling.counts.model import Model, counts_of
from scaling.errors import Complaint, UserError
from scaling.plan.designs import flops_per_step, nearest
from scaling.plan.scales import batch_of
from scaling.plan.tuned import settled
from scaling.recipe.rules import Rule
from scaling.spec.designs.cells import Cell
from scaling.spec.designs.kinds import RunList
from scaling.spec.families import Family, Size, naming_fields
from scaling.spec.models import Study
from scaling.spec.source import SpecError

LARGEST = 10**9  # of a dial


@dataclass(frozen=True)
class Counting:
    """Which N and C are meant: ``body`` leaves out embedding and head, ``six`` takes C = 6 N D for the FLOPs
    of a run."""

    body: bool = False
    six: bool = False

    def params(self, shape: Model) -> int:
        """N of a shape.

        Raises:
            UserError: it does not state how many there are outside embedding and head.
        """
        counts = counts_of(shape)
        number = counts.body if self.body else counts.total
        if number is None:
            message = "the sizes of the family do not state params_embedding and params_head"
            hint = "give them, or fit a law of all parameters (--convention total)"
            raise UserError(Complaint(message, "family.sizes", hint))
        return number

    def flops(self, shape: Model, tokens: int) -> int:
        """C of training on ``tokens``, whole sequences."""
        return 6 * self.params(shape) * tokens if self.six else flops_per_step(shape, tokens)


def next_cells(
    study: Study, asked: Iterable[tuple[float, float]], vocab_size: int, counting: Counting
) -> list[Cell]:
    """Find for each (N, C) the nearest member of the family, and the whole steps nearest to C.

    Args:
        study: whose family, context and batch they are.
        asked: pairs of N and C in FLOPs.
        vocab_size: entries of the vocabulary.
        counting: which N and C are meant.

    Raises:
        UserError: C does not pay for one step, or a tuned rule cannot be read.
    """
    cells, problems = list[Cell](), list[Complaint]()
    recipe, wrong = settled(study.recipe, study.source.folder)
    if wrong:
        raise SpecError(study.source, wrong)
    batch = recipe.batch_tokens
    for params, flops in asked:
        size = nearest_size(study, params, vocab_size, counting)
        shape = _shape(study, size, vocab_size)
        context = shape.context
        tokens = batch_of(batch, shape, flops * context / counting.flops(shape, context)).tokens
        unit = counting.flops(shape, tokens)
        steps = nearest(flops, unit)
        if steps < 1:
            name = study.family.label(size)
            message = f"compute {flops:.3g} is less than one step of {name}, {unit:.3g} FLOPs"
            problems.append(Complaint(message, hint="ask for more, or lower recipe.batch_tokens"))
        else:
            length = {"tokens": steps * tokens} if isinstance(batch, Rule) else {"steps": steps}
            cells.append(Cell.model_validate({**naming_fields(study.family, size), **length}))
    if problems:
        raise UserError(*problems)
    return cells


def next_study(study: Study, cells: Iterable[Cell]) -> Study:
    """The study of these runs, without axes and variants: data, recipe and rules are those of ``study``, and
    its first seed."""
    design = RunList(kind="list", runs=tuple(dict.fromkeys(cells)))
    changes = {"study": f"{study.study}-next", "design": design, "seeds": study.seeds[:1]}
    return study.model_copy(
        update={**changes, "noise": None, "holdout": (), "added": (), "axes": (), "variants": {}}
    )


def nearest_size(study: Study, params: float, vocab_size: int, counting: Counting) -> Size:
    """Find the size of the family with N nearest to the one asked for, as a ratio.

    Args:
        study: whose family it is.
        params: N asked for.
        vocab_size: entries of the vocabulary.
        counting: which N is meant.
    """

    def off(size: Size) -> float:
        return abs(math.log(counting.params(_shape(study, size, vocab_size)) / params))

    candidates = list(_candidates(study, params, vocab_size, counting))
    if not candidates:
        hint = "write them out, as `scaling plan SPEC --resolved` prints them"
        raise UserError(Complaint("the family has no sizes to choose from", "family", hint))
    return min(candidates, key=off)


def _shape(study: Study, size: Size, vocab_size: int) -> Model:
    return study.family.member(size).shape(vocab_size, study.data.context)


def _candidates(study: Study, params: float, vocab_size: int, counting: Counting) -> Iterator[Size]:
    """The sizes of a list; of a dial all that its rules allow about the multiple of the step of its sizes
    that is nearest to ``params``, listed or not."""
    family: Family = study.family
    numbers = [size for size in family.members if isinstance(size, int)]
    if len(numbers) < len(family.members):
        yield from family.members
        return
    step = math.gcd(*numbers)
    low, high = 1, LARGEST // step
    while low < high:
        middle = (low + high) // 2
        if counting.params(_shape(study, middle * step, vocab_size)) < params:
            low = middle + 1
        else:
            high = middle
    for size in range(max(1, (low - 1) * step), (low + 1) * step + 1):
        if not any(family.size_findings(size, ())):
            yield size
