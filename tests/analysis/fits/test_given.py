"""Laws whose parameters are given."""

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.fits.given import GivenLaw
from analysis.laws.law import Law
from analysis.laws.shipped import LAWS

CHINCHILLA = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}


def test_the_loss_and_the_best_sizes_without_runs():
    law = GivenLaw("chinchilla", CHINCHILLA)  # type: ignore[arg-type]
    assert law.law is LAWS["chinchilla"]
    found = law.predict(N=[1e9, 7e9], D=2e10).frame
    assert np.allclose(found["loss"], 1.69 + 406.4 / found["N"] ** 0.34 + 410.7 / 2e10**0.28)
    assert np.allclose(found["C"], 6 * found["N"] * found["D"]) and "low" not in found
    best = law.optimal([1e20, 1e23])
    assert np.allclose(6 * best["N"] * best["D"], best["C"])
    for off in (0.99, 1.01):  # nothing beside it is better
        n = off * best["N"]
        assert (law.predict(N=n, D=best["C"] / (6 * n))["loss"] > best["loss"]).all()
    assert law.predict(N=1e9, C=1.2e20)["D"][0] == pytest.approx(2e10)


def test_a_law_without_a_closed_form_has_best_sizes_too():
    terms = {"E": {}, "A": {"N": "alpha"}, "B": {"D": "beta"}, "F": {"N": "gamma", "D": "delta"}}
    params = CHINCHILLA | {"F": 900.0, "gamma": 0.2, "delta": 0.1}
    law = GivenLaw(Law("mixed", terms), params, "kaplan")
    best = law.optimal(1e21)
    for off in (0.9, 1.1):
        n = off * best["N"]
        assert (law.predict(N=n, D=1e21 / (6 * n))["loss"] > best["loss"]).all()


@pytest.mark.parametrize(
    ("params", "convention", "says"),
    [
        ({"E": 1.69}, "6nd", "give all of E, A, B, alpha, beta"),
        (CHINCHILLA | {"gamma": 1.0}, "6nd", "and no other"),
        (CHINCHILLA | {"A": -1.0}, "6nd", "A = -1.0"),
        (CHINCHILLA | {"beta": np.nan}, "6nd", "beta = nan"),
        (CHINCHILLA, "total", "choose from 6nd, kaplan"),
    ],
)
def test_what_cannot_be_a_law_is_refused(params, convention, says):
    with pytest.raises(AnalysisError, match=says):
        GivenLaw(LAWS["chinchilla"], params, convention)


def test_a_law_of_tokens_alone_allots_nothing():
    law = GivenLaw(LAWS["power-tokens"], {"A": 10.0, "alpha": 0.1})
    assert law.predict(D=1e10)["loss"][0] == pytest.approx(1.0)
    with pytest.raises(AnalysisError, match="no optimal allocation"):
        law.optimal(1e20)
    with pytest.raises(AnalysisError, match="needs D"):
        law.predict(C=1e20)
