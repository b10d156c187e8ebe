"""Losses that are trained on beside the cross-entropy, as a spec and a run hold their weights."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from scaling.recipe.quantities import Described, Real

Weight = Annotated[Real, Field(ge=0, le=1e6)]


class Auxiliary(Described):
    """Weights of losses that are added to the cross-entropy for its gradients alone: what is logged and
    evaluated is the cross-entropy."""

    z_loss: Weight | None = Field(default=None, json_schema_extra={"neutral": None})
    """Of the squared log of the softmax's normaliser, mean over tokens: 1e-4 in PaLM (arXiv:2204.02311,
    section 5), which keeps logits from drifting. Left out: none."""
    load_balance: Weight | None = Field(default=None, json_schema_extra={"neutral": None})
    """Of the loss that spreads tokens over experts (Switch, arXiv:2101.03961, equations 4 to 6), mean over
    layers. Left out: 0.01 where the family has experts."""
    router_z_loss: Weight | None = Field(default=None, json_schema_extra={"neutral": None})
    """Of the squared log of the router's normaliser: 1e-3 in ST-MoE (arXiv:2202.08906, equation 5), mean over
    layers. Left out: none."""


ROUTER_LOSSES = ("load_balance", "router_z_loss")
LOAD_BALANCE = 0.01  # Switch, arXiv:2101.03961, section 2.2


def resolved_auxiliary(written: Auxiliary | None, *, experts: bool) -> Auxiliary | None:
    """Return the auxiliary losses of a run, those of weight 0 left out; None where none is left. A run with
    ``experts`` balances their load unless told otherwise; of one without, router losses are left out."""
    weights = dict(written or Auxiliary())
    if not experts:
        weights |= dict.fromkeys(ROUTER_LOSSES)
    elif weights["load_balance"] is None:
        weights["load_balance"] = LOAD_BALANCE
    used = {name: weight for name, weight in weights.items() if weight}
    return Auxiliary(**used) if used else None
