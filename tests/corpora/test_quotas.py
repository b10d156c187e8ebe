import pytest
from pydantic_core import PydanticCustomError

from scaling.corpora.quotas import BLOCK, quotas


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([3.0, 1.0], [3072, 1024]),
        ([1.0, 1.0, 1.0], [1366, 1365, 1365]),
        ([0.7, 0.2, 0.1], [2867, 819, 410]),  # 2867.2, 819.2, 409.6
        ([1e-4, 1.0 - 1e-4], None),
        ([1.3e-4, 1.0], [1, 4095]),  # 0.53 of a place
        ([5e-324], [BLOCK]),
    ],
)
def test_largest_remainders(weights: list[float], expected: list[int] | None) -> None:
    named = {f"source-{i}": weight for i, weight in enumerate(weights)}
    if expected is None:
        with pytest.raises(PydanticCustomError, match=r"weight 0.0001 of source-0 .* steps of 1/4096"):
            quotas(named)
    else:
        assert list(quotas(named)) == expected


def test_quotas_are_those_of_proportional_weights() -> None:
    weights = {"a": 0.31, "b": 0.47, "c": 0.22}
    assert quotas(weights) == quotas({name: 64 * weight for name, weight in weights.items()})
    assert sum(quotas(weights)) == BLOCK
