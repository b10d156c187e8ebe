import random

import pytest

from scaling.data import evaluation
from scaling.data.evaluation import allocate, evaluated, places, predicted


def test_places_are_distinct_evenly_spread_and_begin_at_the_beginning() -> None:
    assert places(10, 4) == [0, 2, 5, 7]
    for windows in range(1, 40):
        for used in range(1, windows + 1):
            chosen = places(windows, used)
            gaps = [b - a for a, b in zip(chosen, [*chosen[1:], windows], strict=True)]
            assert chosen[0] == 0 and min(gaps) >= 1 and max(gaps) - min(gaps) <= 1


def test_predicted_counts_text_only() -> None:
    assert predicted(10, 4, 3) == 10  # 4 + 4 + 2
    assert predicted(10, 4, 2) == 8
    assert predicted(3, 8, 1) == 3
    assert predicted(3, 8, 0) == 0


def test_allocation_reaches_the_target_and_is_level() -> None:
    generator = random.Random(0)
    for _ in range(300):
        documents = [generator.randint(1, 400) for _ in range(generator.randint(1, 12))]
        context = generator.choice([1, 8, 64, 1000])
        target = generator.randint(1, sum(documents))
        used = allocate(documents, context, target)
        capacity = [-(-n // context) for n in documents]
        got = sum(predicted(n, context, k) for n, k in zip(documents, used, strict=True))
        assert target <= got < target + context * (1 + len(documents))
        unfilled = [k for k, c in zip(used, capacity, strict=True) if k < c]
        assert all(k <= c for k, c in zip(used, capacity, strict=True))
        assert max(used) - min(unfilled, default=max(used)) <= 1


def step_by_step(documents: list[int], context: int, target: int) -> list[int]:
    """Allocate one step after the other, counting each window by its place."""
    capacity, total = [-(-n // context) for n in documents], -(-target // context)
    while True:
        used = evaluation._level(capacity, total)
        got = 0
        for n, windows, k in zip(documents, capacity, used, strict=True):
            got += sum(min(context, n - place * context) for place in places(windows, k))
        if got >= target:
            return used
        total += -(-(target - got) // context)


def test_allocation_takes_the_least_windows() -> None:
    generator = random.Random(1)
    for _ in range(400):
        longest = generator.choice([3, 40, 400])
        documents = [generator.randint(1, longest) for _ in range(generator.randint(1, 30))]
        context = generator.choice([1, 2, 7, 64, 1000])
        target = generator.choice([sum(documents), generator.randint(1, sum(documents))])
        assert allocate(documents, context, target) == step_by_step(documents, context, target)


def test_allocation_over_many_short_documents_takes_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    steps, level = list[int](), evaluation._level
    monkeypatch.setattr(evaluation, "_level", lambda c, total: steps.append(total) or level(c, total))
    assert sum(allocate([40] * 3300, 1024, 131072)) == 3277 and len(steps) < 20


def test_too_many_tokens_are_refused() -> None:
    assert allocate([5, 6], 4, 11) == [2, 2]
    with pytest.raises(ValueError, match="12 evaluation tokens asked of 11"):
        allocate([5, 6], 4, 12)


def test_the_first_documents_that_are_enough_are_evaluated() -> None:
    assert evaluated([5, 6, 7, 8], 1, 11) == 2
    assert evaluated([5, 6, 7, 8], 3, 11) == 3
    assert evaluated([5, 6, 7, 8], 1, 100) == 4
