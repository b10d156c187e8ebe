"""The designs of benchmarks/quickstart_designs.py."""

import sys
from pathlib import Path

import pytest

from scaling.spec.load import load_study

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import quickstart_designs


def study(name, repetition=0, *, hold_out=True):
    arguments = quickstart_designs.DESIGNS[name].settings(repetition, hold_out=hold_out)
    return load_study(quickstart_designs.SPEC, arguments[1::2])


def test_the_present_design_is_that_of_the_quickstart():
    written = load_study(quickstart_designs.SPEC)
    assert study("present").model_dump() == written.model_dump()


@pytest.mark.parametrize("name", quickstart_designs.DESIGNS)
def test_a_repetition_has_seeds_of_its_own_and_the_recipe_of_the_quickstart(name):
    written, found = load_study(quickstart_designs.SPEC), study(name, 2, hold_out=False)
    assert found.recipe == written.recipe and found.holdout == ()
    seeds = [seed.init for seed in found.seeds]
    assert seeds == [4, 5][: len(seeds)] and not {*found.noise.seeds} & {*written.noise.seeds}
