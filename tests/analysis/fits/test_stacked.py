"""Losses of several evaluation sets in one column: said to be that, and not to depend on nothing."""

import numpy as np
import pandas as pd
import pytest

from analysis import fit


def runs(gap: float, noise: float = 0.004) -> pd.DataFrame:
    """A grid of 30 runs, each with its loss on two sets, the second ``gap`` higher."""
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(1e9, 1e11, 5)))
    loss, rng = 2.5 + 60 / n**0.34 + 80 / d**0.28, np.random.default_rng(0)
    sets = [
        pd.DataFrame({"params": n, "tokens": d, "loss": loss * by * np.exp(noise * rng.standard_normal(30))})
        for by in (1.0, 1.0 + gap)
    ]
    return pd.concat(sets, ignore_index=True)


def test_two_losses_of_every_run_are_not_refused_as_a_constant():
    found = fit("chinchilla", runs(0.6), bootstrap=0)
    assert found.status.code == "not_identified" and "stacks several kinds of losses" in found.status.message
    assert "each N and D has 2 values of the loss" in found.status.message
    assert "add a column" in found.status.advice
    named = runs(0.6).assign(suite=np.repeat([1, 2], 30))
    assert "'suite' says which is which" in fit("chinchilla", named, bootstrap=0).status.advice
    grouped = fit("chinchilla", named, groups="suite", bootstrap=0)
    assert grouped.usable and not any("stacks" in note for note in grouped.notes)


@pytest.mark.parametrize(("gap", "told"), [(0.05, True), (0.0, False)])
def test_losses_near_one_another_are_a_note_and_repeats_are_none(gap, told):
    found = fit("chinchilla", runs(gap), bootstrap=0)
    assert found.usable and any("stacks several" in note for note in found.notes) is told
