"""What one variant is worth against another."""

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.tables.runs import select
from analysis.variants.contrast import contrast
from analysis.variants.text import contrast_lines, verdict


def contrasted(table, **options):
    frame = select(table, cells="all")[0]
    return contrast(frame, "variant", "base", "new", **{"bootstrap": 60, "target": 2.4e12, **options})


@pytest.fixture(scope="module")
def worse(studied):
    table = studied(3, worth=1.3)
    table["tokens_per_second"] = np.where(table["variant"] == "new", 0.8e5, 1e5)
    return table.assign(device="cpu")


@pytest.fixture(scope="module")
def found(worse):
    return contrasted(worse)


def test_a_known_multiplier_is_told_with_its_interval(found):
    assert [(w.at, w.target) for w in found.worth] == [(8e11, False), (2.4e12, True)]
    assert all(w.ends.low < 1.3 < w.ends.high and w.exponents == "shared" for w in found.worth)
    assert found.test.shared and found.code == "needs_more" and found.alike > 0.3
    own = found.own_worth[-1]
    assert own.exponents == "own" and own.ends.high - own.ends.low > np.diff(found.worth[-1].ends)
    assert verdict(found).startswith(f"new needs {found.said.multiplier:.3g}x [")
    assert "with exponents of its own" in "\n".join(contrast_lines(found))


def test_the_effective_speedup_is_of_time(found, worse):
    speed = found.speed
    assert speed.seconds == pytest.approx(1 / 0.8) and speed.pairs == 28 and speed.device == "cpu"
    assert speed.speedup == pytest.approx(0.8 / found.said.multiplier)
    assert speed.ends.low < 0.8 / 1.3 < speed.ends.high
    mixed = contrasted(worse.assign(device=np.where(worse["width"] > 50, "H200", "cpu")), bootstrap=20)
    assert mixed.speed is None and "several devices: H200, cpu" in mixed.no_speed
    assert "H200" in "\n".join(contrast_lines(mixed))


def test_no_difference_is_a_statement_of_equivalence(studied):
    found = contrasted(studied(4))
    low, high = found.said.ends
    assert found.code == "no_difference" and low < 1 < high
    assert found.said.within == pytest.approx(max(high, 1 / low) - 1) and found.said.within < 0.1
    assert verdict(found).startswith("no difference within ") and "of loss at equal compute" in verdict(found)


def test_exponents_of_its_own_make_the_multiplier_depend_on_compute(studied):
    found = contrasted(studied(5, steeper=0.12))
    assert not found.test.shared and not found.own_worth
    assert {w.exponents for w in found.worth} == {"own"}
    assert found.worth[1].multiplier < found.worth[0].multiplier < 1 and found.code == "needs_less"


def test_too_few_runs_identify_nothing_and_the_pairs_still_speak(studied):
    table = studied(6, worth=1.3)
    few = contrasted(table[table["width"] == 32])
    assert few.code == "not_identified" and not few.worth and few.difference.mean > 0
    assert verdict(few).startswith("not identified: ") and few.reason in verdict(few)


@pytest.mark.slow
def test_a_loss_may_be_chosen(found, worse):
    chosen = found.worth[1]
    asked = contrasted(worse, target=None, losses=[chosen.loss], bootstrap=20).worth[0]
    assert asked.at == pytest.approx(2.4e12, rel=1e-3) and asked.loss == pytest.approx(chosen.loss)
    assert asked.multiplier == pytest.approx(chosen.multiplier, rel=1e-3)
    with pytest.raises(AnalysisError, match=r"loss 0\.1 is not reached by base, whose law goes from"):
        contrasted(worse, losses=[0.1], bootstrap=0)
