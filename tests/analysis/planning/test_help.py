"""What a proposed run is said to add."""

import pandas as pd

from analysis.planning.help import why as added

ROWS = {"N": [1e6, 1e7], "D": [2e7, 2e8], "C": [1.2e14, 1.2e16], "offer": [float("nan")] * 2}


def why(n: float, d: float, proposed: tuple[float, float] | None = None) -> str:
    bought = pd.DataFrame(ROWS)
    if proposed:
        other = {"N": proposed[0], "D": proposed[1], "C": 6 * proposed[0] * proposed[1], "offer": 0.0}
        bought = pd.concat([bought, pd.DataFrame([other])], ignore_index=True)
    return added(bought, pd.Series({"N": n, "D": d, "C": 6 * n * d, "offer": 1.0}))


def test_a_size_that_is_only_proposed_is_not_there() -> None:
    assert why(3e6, 6e7).startswith("a new size")
    assert why(3e6, 6e7, proposed=(3e6, 6e7)) == "another horizon of a size proposed above"
    assert why(3e6, 1.2e8, proposed=(3e6, 6e7)).startswith("a longer run of a size proposed above, 2x")
    assert why(3e6, 3e7, proposed=(3e6, 6e7)).startswith("a shorter run of a size proposed above")


def test_a_run_is_set_against_those_that_are_there() -> None:
    assert why(1e7, 2e8) == "another horizon of a size that is there"
    assert why(1e7, 4e8, proposed=(1e7, 8e8)).startswith(
        "a longer run of a size that is there, 2x its tokens"
    )
