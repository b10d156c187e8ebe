"""What is expected of critical batches, against simulated studies."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.planning.batch_groups import BatchGroup, CriticalPrior
from analysis.planning.batches import ExpectedBatch, ExpectedBatches, expect_batches
from analysis.planning.batches_text import batches_text
from analysis.planning.prior import NoiseLevel, Prior
from analysis.planning.simulated_batches import simulate_batches
from analysis.planning.statement import simulated_text

DOUBLED = 128 * 2.0 ** np.arange(6)


def group(batches: np.ndarray = DOUBLED, **more: float) -> BatchGroup:
    return BatchGroup("g", 4e4, 1e6, batches, 8e5, **more)


def expected(batches: np.ndarray = DOUBLED, critical: float = 1000.0) -> ExpectedBatch:
    prior = CriticalPrior.given(critical, critical)
    return expect_batches(Prior.published("bytes"), prior, [group(batches)]).found[0]


def test_the_interval_is_the_one_that_simulated_studies_report() -> None:
    found = expect_batches(Prior.published("bytes"), CriticalPrior.given(1000.0, 1000.0), [group()])
    one, simulated = found.found[0], simulate_batches(found, 30)
    seen = simulated["Bcrit(g)"]
    assert one.verdict.verdict == "yes" and one.low < 1000 < one.high
    assert 0.75 < one.half_width / seen.half_width < 1.33 and 0.7 < one.spread / seen.spread < 1.4
    assert seen.covered > 0.8 and seen.identified > 0.9 and simulated.status == {"identified": 30}
    assert simulated.to_dict()["law"] == "critical-batch"


def test_a_study_counts_once_by_its_worst_group() -> None:
    groups = [group(), group(DOUBLED[::5]), group()]
    found = expect_batches(Prior.published("bytes"), CriticalPrior.given(1000.0, 1000.0), groups)
    assert simulate_batches(found, 4, bootstrap=20).status == {"not_identified": 4}
    found = expect_batches(Prior.published("bytes"), CriticalPrior.given(1000.0, 1000.0), groups[::2])
    assert simulate_batches(found, 4, bootstrap=20).status == {"identified": 4}


def test_studies_of_too_few_batches_have_nothing_to_show() -> None:
    prior = CriticalPrior.given(300.0, 300.0)
    found = expect_batches(Prior.published("bytes"), prior, [group(DOUBLED[::5])])
    simulated = simulate_batches(found, 2)
    assert not simulated.seen and simulated.status == {"not_identified": 2}
    assert "Smin, Bcrit and an error take 3 different batches" in simulated_text(simulated)


def test_noise_of_losses_is_that_of_steps_over_the_slope_of_the_learning_curve() -> None:
    one = expected()
    law = Prior.published("bytes")
    tokens = 8e5 / (1 + DOUBLED.max() / 1000)
    ends = law.losses({"N": np.full(2, 4e4), "D": tokens * np.array([1.0, np.exp(one.noise)])})
    assert np.log(ends[0] / ends[1]) == pytest.approx(law.noise.run, rel=0.05)
    assert one.loss == pytest.approx(ends[0])


@pytest.mark.parametrize(
    ("batches", "critical", "verdict", "code"),
    [
        (DOUBLED[:3], 1e5, "one_sided", "no_saturation"),
        (DOUBLED[3:] * 64, 500.0, "one_sided", "all_beyond"),
        (DOUBLED[::5], 700.0, "no", "shortage"),
        (np.repeat(DOUBLED[::5], 4), 700.0, "no", "shortage"),
    ],
)
def test_batches_that_do_not_span_the_critical_one_give_a_bound_or_nothing(
    batches: np.ndarray, critical: float, verdict: str, code: str
) -> None:
    one = expected(batches, critical)
    assert (one.verdict.verdict, one.verdict.code) == (verdict, code)
    assert one.reach is None or not one.reach.low <= critical <= one.reach.high


def test_what_would_be_identified_goes_beyond_the_batches_as_far_as_noise_allows() -> None:
    quiet, loud = (
        expect_batches(Prior.published("bytes", NoiseLevel(noise)), CriticalPrior.given(700, 700), [group()])
        for noise in (0.002, 0.02)
    )
    (fine, coarse) = (found.found[0].reach for found in (quiet, loud))
    assert fine is not None and coarse is not None
    assert fine.low < DOUBLED[0] and DOUBLED[-1] < fine.high
    assert fine.low < coarse.low < 700 < coarse.high < fine.high


@pytest.mark.parametrize("trunk_tokens", [0.0, 5e5])
def test_what_would_be_identified_is_so_where_it_is_the_true_one(trunk_tokens: float) -> None:
    """At each critical batch with the loss, and so the noise of steps, that runs then reach."""
    after = BatchGroup("g", 41600, 5e5, DOUBLED, 4e5, trunk_tokens, 256.0)

    def verdict(critical: float) -> str:
        prior = CriticalPrior.given(critical, critical)
        return expect_batches(Prior.published("bytes"), prior, [after]).found[0].verdict.verdict

    prior = CriticalPrior.given(900.0, 900.0)
    reach = expect_batches(Prior.published("bytes"), prior, [after]).found[0].reach
    assert reach is not None
    assert verdict(reach.low * 1.15) == verdict(reach.high / 1.15) == "yes"
    assert "yes" not in {verdict(reach.low / 1.15), verdict(reach.high * 1.15)}


def test_a_range_of_the_prior_must_be_identified_throughout() -> None:
    wide = expect_batches(Prior.published("bytes"), CriticalPrior.given(1.0, 1e6), [group()]).found[0]
    assert (wide.verdict.verdict, wide.verdict.code) == ("no", "prior")


def test_the_critical_batch_is_taken_where_the_loss_is_reached() -> None:
    prior = CriticalPrior(3.0, 0.5, "here")
    found = group(trunk_tokens=2e5, trunk_batch=256.0).critical(prior)
    needed = 2e5 / (1 + 256 / found) + 8e5 / (1 + DOUBLED.max() / found)
    assert found == pytest.approx(3.0 * needed**0.5)
    assert [CriticalPrior.nearest(x).about for x in (1e5, 1e6, 1e9, 1e12)] == [4e5, 4e5, 1e10, 1e10]


def law_of(count: int, noise: float = 0.0056, exponent: float = 0.0) -> ExpectedBatches:
    sizes = np.geomspace(1e4, 1e6, count)
    groups = [BatchGroup(f"g{i}", n, 1e6 * n / 1e5, DOUBLED, 8e5 * n / 1e5) for i, n in enumerate(sizes)]
    critical = CriticalPrior(1000 / 1e6**exponent, exponent, "here")
    return expect_batches(Prior.published("bytes", NoiseLevel(noise)), critical, groups)


def test_a_power_law_takes_groups() -> None:
    two, six = law_of(2), law_of(6, 1e-4, 0.3)
    assert two.exponent.verdict.code == "shortage" and two.exponent.value is None
    assert "not identified: it takes 3 groups" in batches_text(two)
    assert two.to_dict()["exponent"]["verdict"]["reason"].startswith("it takes 3 groups")
    assert six.exponent.verdict.verdict == "yes"
    assert six.exponent.value is not None and six.exponent.value < 0
    assert "Bcrit as a power of the loss reached: exponent known to +-" in batches_text(six)
    assert batches_text(six).startswith("What this design can identify of the critical batch: yes\n")


def test_an_exponent_with_a_wide_interval_is_not_identified() -> None:
    """Half of its interval is more than a quarter of it; about a value of 0 a narrow one says something."""
    wide, none = law_of(6, 0.02, 0.3), law_of(6, 1e-4)
    value, half = wide.exponent.value, wide.exponent.half_width
    assert value is not None and half is not None and half > abs(value) / 4
    assert wide.exponent.verdict.code == "wide" and wide.identified == 6
    said = wide.to_dict()["exponent"]["verdict"]
    assert said["verdict"] == "no" and said["reason"].startswith(f"+-{half:.2g} about {value:.2f}")
    assert f"not identified: {said['reason']}" in batches_text(wide)
    assert none.exponent.value == pytest.approx(0, abs=1e-6)
    assert none.exponent.verdict.verdict == "yes"
