"""A model of somebody's own trainer, by the numbers that they state of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

from scaling.counts.flops import Flops
from scaling.counts.params import KnownCounts

# What configurations call a width and a depth, in the order in which they are looked for.
WIDTHS = ("width", "d_model", "n_embd", "hidden_size")
DEPTHS = ("depth", "layers", "n_layer", "num_hidden_layers")


@dataclass(frozen=True, kw_only=True)
class ExternalSize:
    """A model that the built-in trainer knows nothing of.

    Attributes:
        name: of the size.
        params: all parameters.
        flops_per_token: of training: forward and backward.
        context: tokens of a sequence.
        config: what the trainer is told of the model; plain JSON.
        params_embedding: parameters of the embedding; None: not stated.
        params_head: of the output head, 0 where it is tied.
        width: for rules; None: that of ``config``, if it has one.
        depth: likewise.
    """

    name: str
    params: int
    flops_per_token: int
    context: int
    config: dict[str, Any] = field(default_factory=dict[str, Any])
    params_embedding: int | None = field(default=None, metadata={"neutral": None})
    params_head: int | None = field(default=None, metadata={"neutral": None})
    width: int | None = field(default=None, metadata={"neutral": None})
    depth: int | None = field(default=None, metadata={"neutral": None})

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(json.dumps(asdict(self), sort_keys=True))

    @property
    def counts(self) -> KnownCounts:
        """The parameters, as far as they are stated."""
        embedding, head = self.params_embedding, self.params_head
        body = None if embedding is None or head is None else self.params - embedding - head
        return KnownCounts(self.params, embedding, head, body)

    @property
    def known_width(self) -> int | None:
        """The width, as stated or by the names that configurations have for it."""
        return self.width if self.width is not None else _number(self.config, WIDTHS)

    @property
    def known_depth(self) -> int | None:
        """The depth, likewise."""
        return self.depth if self.depth is not None else _number(self.config, DEPTHS)

    def training_flops(self, tokens: int) -> Flops:
        """Return the FLOPs of training on ``tokens`` tokens; None by conventions that ask for more than is
        stated."""
        body = self.counts.body
        return Flops(
            flops=self.flops_per_token * tokens,
            full_attention=None,
            six_n_total=6 * self.params * tokens,
            six_n_body=None if body is None else 6 * body * tokens,
        )


def _number(config: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    """Return the first whole number above 0 that stands under one of these names."""
    values = (config.get(name) for name in names)
    return next((v for v in values if isinstance(v, int) and not isinstance(v, bool) and v > 0), None)
