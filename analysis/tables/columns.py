"""Columns as found in the wild -> ours. What can be read in one way is read so, and noted; where two columns
could be the same quantity, the message lists them and how to say which."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.errors import Argument, Complaint, alternatives, some
from analysis.tables.expressions import nearest
from analysis.tables.headings import UNITS, cell, folded, unit
from analysis.tables.reading import numbers
from analysis.tables.states import unknown
from analysis.tables.table import about, tell

# ours -> how others call it, as `folded` spells it; single letters count only as they stand here
ALIASES: dict[str, tuple[str, ...]] = {
    "params": ("N", "num_params", "n_params", "param_count", "num_parameters", "n_parameters", "parameters",
               "parameter_count", "total_params", "total_parameters", "params_total", "model_params",
               "model_parameters", "model_size", "nparams"),
    "tokens": ("D", "train_tokens", "training_tokens", "num_tokens", "n_tokens", "token_count", "ntokens",
               "total_tokens", "tokens_total", "tokens_seen", "seen_tokens", "consumed_tokens",
               "tokens_trained", "num_train_tokens", "training_data_tokens", "n_train_tokens",
               "tokens_processed", "num_tokens_trained", "n_tokens_seen", "num_tokens_seen"),
    "flops": ("C", "flop", "compute", "train_flops", "train_flop", "training_flops", "training_flop",
              "total_flops", "total_flop", "training_compute", "train_compute", "total_compute",
              "compute_flops", "flops_total", "num_flops", "n_flops", "training_compute_flop",
              "6_nd", "6_nd_flops", "flops_6_nd", "6_nd_flop", "compute_6_nd"),
    "loss": ("L", "val_loss", "valid_loss", "validation_loss", "loss_val", "loss_validation", "eval_loss",
             "test_loss", "final_loss", "final_val_loss", "final_eval_loss", "lm_loss", "cross_entropy",
             "cross_entropy_loss", "crossentropy_loss", "ce_loss", "ce", "xent", "nll", "val_nll"),
    "params_body": ("params_no_embed", "params_no_embeds", "non_embedding_params", "non_embedding_parameters",
                    "params_non_embedding", "n_params_non_embedding", "num_non_embedding_params",
                    "non_embedding_param_size", "nonembedding_params", "params_no_embedding"),
    "unique_tokens": ("num_unique_tokens", "n_unique_tokens", "tokens_unique"),
    "bits_per_byte": ("bpb", "val_bpb", "eval_bpb", "val_bits_per_byte"),
    "train_loss": ("training_loss", "final_train_loss", "loss_train"),
    "learning_rate": ("lr", "peak_lr", "lr_peak", "max_lr", "peak_learning_rate", "max_learning_rate"),
    "batch_tokens": ("batch_size_tokens", "tokens_per_batch", "tokens_per_step", "batch_size_in_tokens",
                     "global_batch_tokens", "global_batch_size_tokens", "total_batch_size_tokens"),
    "weight_decay": ("wd",),
    "steps": ("num_steps", "n_steps", "train_steps", "training_steps", "train_iters", "num_iters",
              "num_iterations", "total_steps", "num_train_steps", "n_train_steps", "optimizer_steps",
              "num_updates"),
    "depth": ("n_layers", "num_layers", "n_layer", "layers", "num_hidden_layers"),
    "width": ("d_model", "hidden_size", "n_embd", "hidden_dim", "model_dim"),
    "heads": ("n_heads", "num_heads", "n_head", "num_attention_heads"),
    "context": ("seq_len", "context_length", "sequence_length", "n_ctx", "ctx_len"),
    "vocab_size": ("n_vocab", "num_vocab"),
    "seed": ("random_seed", "rng_seed"),
    "status": ("state", "run_state"),
    "role": (),
    "run_id": ("runid",),
    "trunk_id": (),
    "budget": ("flop_budget", "flops_budget", "compute_budget"),
}  # fmt: skip
FORMULA = ("params", "tokens", "loss", "flops", "params_body")  # two candidates for one of these: refused
NUMBERS = frozenset(ALIASES) - {"seed", "status", "role", "run_id", "trunk_id"}
# a column that nothing else gives may also be one of these: compute that was planned is compute
SECOND = {"flops": ("flop_budget", "flops_budget", "compute_budget")}
# words of a path that speak against it
NO_PATH = dict.fromkeys(FORMULA, r"(^|_)(eval|val|valid|test|batch|per|unique)(_|$)") | {
    "loss": r"(^|_)(train|aux|std|se)(_|$)"
}


def candidates(ours: str, columns: Sequence[str]) -> list[str]:
    """Columns that may be ``ours`` under another name. Where there are none, for those of ``FORMULA``:
    perplexities, planned compute, columns under a path such as ``throughput/total_tokens``."""
    known = {ours, *ALIASES[ours]}
    headings = {c: unit(c, ours) for c in columns if c != ours}
    first = [c for c, (name, how) in headings.items() if how != "perplexity" and _is(name, known)]
    if first or ours not in FORMULA or ours in columns:
        return first
    known |= set(SECOND.get(ours, ()))
    paths = {
        c: unit(re.split(r"[/.]", c)[-1], ours)[0] for c in columns if not re.search(NO_PATH[ours], folded(c))
    }
    return [c for c, (name, _) in headings.items() if _is(name, known)] or [
        c for c, name in paths.items() if _is(name, known)
    ]


def _is(name: str, known: Collection[str]) -> bool:
    return name in known or (len(name) > 1 and folded(name) in known)


def resolve(
    frame: pd.DataFrame, given: Mapping[str, str | None], name: str, needs: Sequence[str]
) -> tuple[dict[str, str], list[str], list[Complaint]]:
    """Find which column becomes which of ours.

    A column whose cells are of another kind than its name says keeps it.

    Args:
        frame: the table as its file has it.
        given: columns stated by hand, ``{"params": "N"}``; None: not to be had from this table.
        name: what messages call the table.
        needs: columns of the file that keep their names.

    Returns:
        ``(file -> ours, notes, problems)``
    """
    problems, columns = [], list(frame.columns)
    formula = FORMULA if {"params", "tokens"} <= set(needs) else needs
    for ours, source in given.items():
        if ours not in ALIASES and ours not in needs:
            hint = nearest(ours, list(ALIASES))
            problems.append(Complaint("no such column of ours", Argument("columns", {ours: source}), hint))
        if source is not None and source not in columns:
            where = f"{name}: ", Argument("columns", {ours: source})
            problems.append(Complaint("not in the file", where, nearest(source, columns)))
    for source in {s for s in given.values() if s is not None and list(given.values()).count(s) > 1}:
        problems.append(
            Complaint(f"columns: {source!r} is stated to be two of ours", hint="a column is one quantity")
        )
    mapping = {
        source: ours
        for ours, source in given.items()
        if source is not None and source in columns and (ours in ALIASES or ours in needs)
    }
    open_ = [c for c in columns if c not in mapping and (c in ALIASES or c not in needs)]
    notes = []
    for ours in (c for c in ALIASES if c not in given):
        claimed = [c for c in candidates(ours, open_) if c not in mapping]
        named = [c for c in claimed if _holds(ours, frame[c])]
        odd = [c for c in claimed if c not in named and ours not in columns]
        notes += [f"{c!r} is not taken as {ours}, which its cells are not" for c in odd]
        if ours in columns:
            if named and ours in formula:
                notes.append(f"{ours} is the column of that name; {some(map(repr, named))} left as it is")
        elif len(named) == 1:
            mapping[named[0]] = ours
        elif named and ours in formula:
            ways = alternatives(Argument("columns", {ours: c}) for c in named)
            message = f"{some(map(repr, named))} could all be {ours!r}"
            problems.append(Complaint(message, name, ("say which: ", *ways)))
    renamed = [f"{ours} = {source!r}" for source, ours in mapping.items() if source != ours]
    return mapping, [f"columns: {', '.join(renamed)}", *notes] if renamed else notes, problems


def _holds(ours: str, cells: Any) -> bool:
    """Whether some cell can be what the column is taken to hold; of a column that is there twice, none."""
    if cells.ndim > 1 or not cells.notna().any():
        return cells.ndim == 1
    if ours == "status":
        return len(unknown(cells)) < cells.nunique()
    _, bad = numbers(cells)
    return (
        ours not in NUMBERS
        or not bad[cells.notna()].all()
        or (ours in UNITS and any(cell(str(x), ours) for x in cells.dropna()))
    )


def adopt(
    frame: pd.DataFrame, given: Mapping[str, str | None], name: str, needs: Sequence[str] = FORMULA
) -> tuple[pd.DataFrame, list[Complaint]]:
    """Rename the columns of a file to ours; what the headings say goes into its :class:`About`.

    Args:
        frame: the table as its file has it.
        given: columns stated by hand, ``{"params": "N"}``; None: not to be had from this table.
        name: what messages call the table.
        needs: columns of the file that keep their names.

    Returns:
        The renamed table, and problems.
    """
    mapping, notes, problems = resolve(frame, given, name, needs)
    taken = [ours for source, ours in mapping.items() if ours != source and ours in frame.columns]
    if taken:
        notes.append(f"left out, as another column was stated to be it: {some(map(repr, taken))}")
    frame = frame.drop(columns=taken).rename(columns=mapping)
    units = {ours: found for source, ours in mapping.items() if (found := unit(source, ours)[1])}
    tell(frame, columns=mapping, headings=units, read=(*about(frame).read, *notes))
    return frame, problems


def file_names(frame: pd.DataFrame) -> dict[str, str]:
    """What the columns are called in the file."""
    return {ours: source for source, ours in about(frame).columns.items()}
