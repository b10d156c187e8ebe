"""Auxiliary losses as a spec writes them and as a run holds them."""

from __future__ import annotations

import pytest

from scaling.recipe.auxiliary import Auxiliary, resolved_auxiliary


@pytest.mark.parametrize("experts", [False, True])
@pytest.mark.parametrize("written", [None, Auxiliary(), Auxiliary(z_loss=0.0)])
def test_what_is_left_out_is_none_but_with_experts(written: Auxiliary | None, experts: bool) -> None:
    expected = Auxiliary(load_balance=0.01) if experts else None
    assert resolved_auxiliary(written, experts=experts) == expected


def test_what_is_written_stays() -> None:
    written = Auxiliary(z_loss=1e-4, load_balance=0.1, router_z_loss=1e-3)
    assert resolved_auxiliary(written, experts=True) == written
    assert resolved_auxiliary(written, experts=False) == Auxiliary(z_loss=1e-4)


def test_a_weight_of_0_is_none() -> None:
    assert resolved_auxiliary(Auxiliary(load_balance=0.0), experts=True) is None
    assert resolved_auxiliary(Auxiliary(z_loss=1e-4, load_balance=0.0), experts=True) == Auxiliary(
        z_loss=1e-4
    )
