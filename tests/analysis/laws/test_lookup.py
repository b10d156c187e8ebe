import pandas as pd
import pytest

from analysis import CURVE_LAWS, AnalysisError, compare, fit
from analysis.laws.lookup import find


def test_objects_that_are_no_laws_are_refused():
    table = pd.DataFrame({"params": [1e6], "tokens": [1e8], "loss": [3.0]})
    for use in (lambda law: fit(law, table), lambda law: compare(["tied", law], table)):
        with pytest.raises(
            AnalysisError, match=r"a law of training curves.*analysis\.fit\(law, table, schedules"
        ):
            use(CURVE_LAWS["annealing"])
    with pytest.raises(AnalysisError, match="did you mean 'annealing'"):
        find("anealing")
    with pytest.raises(AnalysisError, match="'annealing' is a law of training curves"):
        find("annealing")
    with pytest.raises(AnalysisError, match="'basins' is unknown; `scaling laws` lists laws and estimators"):
        find("basins")
