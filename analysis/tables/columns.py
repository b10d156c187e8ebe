"""Columns as found in the wild -> ours. What can be read in one way is read so, and noted; where two columns
could be the same quantity, the message lists them and how to say which."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pandas as pd

from analysis.errors import Argument, Complaint, alternatives, some
from analysis.tables.table import about, tell
from analysis.tables.units import UNITS
from analysis.tables.where import nearest

# ours -> how others call it, as `folded` spells it; single letters count only as they stand here
ALIASES: dict[str, tuple[str, ...]] = {
    "params": ("N", "num_params", "n_params", "param_count", "num_parameters", "n_parameters", "parameters",
               "parameter_count", "total_params", "total_parameters", "params_total", "model_params",
               "model_parameters", "model_size", "nparams"),
    "tokens": ("D", "train_tokens", "training_tokens", "num_tokens", "n_tokens", "token_count", "ntokens",
               "total_tokens", "tokens_total", "tokens_seen", "seen_tokens", "consumed_tokens",
               "tokens_trained", "num_train_tokens", "training_data_tokens"),
    "flops": ("C", "flop", "compute", "train_flops", "train_flop", "training_flops", "training_flop",
              "total_flops", "total_flop", "training_compute", "train_compute", "total_compute",
              "compute_flops", "flops_total", "num_flops", "n_flops", "training_compute_flop"),
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
    "batch_tokens": ("batch_size_tokens", "tokens_per_batch", "tokens_per_step"),
    "weight_decay": ("wd",),
    "steps": ("num_steps", "n_steps", "train_steps", "training_steps", "train_iters", "num_iters"),
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
SEARCHED = {
    "params": r"param|model_size|^size$|^n_(active|dense|total)",
    "tokens": r"token|data|examples",
    "loss": r"loss|bpb|bits_per_byte|ppl|perplex|entropy|nll",
}


# units as a heading may end with them, in brackets; one small letter says nothing
IN_NAME = re.compile(r"\s*[(\[]\s*(?:in |x ?|×)?\s*([^()\[\]]+?)\s*[)\]]\s*$")
SPELLED = {
    "thousand": "K", "thousands": "K", "million": "M", "millions": "M", "billion": "B", "billions": "B",
    "trillion": "T", "trillions": "T", "exaflop": "E", "exaflops": "E", "eflop": "E", "eflops": "E",
    "petaflop": "P", "petaflops": "P", "pflop": "P", "pflops": "P", "zettaflop": "Z", "zettaflops": "Z",
    "zflop": "Z", "zflops": "Z", "pf-days": "PF-days", "pflop/s-days": "PF-days",
    "pflop/s-day": "PF-days", "nat": "nats", "nats": "nats", "nats/token": "nats", "nats/byte": "nats/byte",
    "bit": "bits", "bits": "bits", "bits/token": "bits", "bits/byte": "bits/byte", "bpb": "bits/byte",
    "ppl": "perplexity", "perplexity": "perplexity",
}  # fmt: skip


def unit(column: str, ours: str) -> tuple[str, str | None]:
    """A heading without the unit in brackets that it ends with, and that unit: ``Model Size (B)``,
    ``tokens [billions]``. A heading whose brackets hold no unit of ``ours`` stays as it is."""
    match = IN_NAME.search(column)
    if match is None or ours not in UNITS:
        return column, None
    found = match[1] if match[1] in UNITS[ours] else SPELLED.get(match[1].lower())
    return (column[: match.start()], found) if found in UNITS[ours] else (column, None)


def folded(column: str) -> str:
    """``Model Size``, ``modelSize`` and ``model-size`` -> ``model_size``."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column)
    return re.sub(r"[^a-z0-9]+", "_", split.lower()).strip("_")


def candidates(ours: str, columns: Sequence[str]) -> list[str]:
    """Columns that may be ``ours`` under another name."""
    known = {ours, *ALIASES[ours]}
    names = {c: unit(c, ours)[0] for c in columns if c != ours}
    return [c for c, name in names.items() if name in known or (len(name) > 1 and folded(name) in known)]


def resolve(
    columns: Sequence[str], given: Mapping[str, str | None], name: str, needs: Sequence[str]
) -> tuple[dict[str, str], list[str], list[Complaint]]:
    """Which column becomes which of ours: ``(file -> ours, notes, problems)``.

    ``given`` says so by hand, ``{"params": "N"}``; None: not to be had from this table. A column of the file
    that is one of ``needs`` keeps its name.
    """
    problems = []
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
        named = [c for c in candidates(ours, open_) if c not in mapping]
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


def adopt(
    frame: pd.DataFrame, given: Mapping[str, str | None], name: str, needs: Sequence[str] = FORMULA
) -> tuple[pd.DataFrame, list[Complaint]]:
    """The columns of a file under our names, and problems; what the headings say goes into its
    :class:`About`."""
    mapping, notes, problems = resolve(list(frame.columns), given, name, needs)
    taken = [ours for source, ours in mapping.items() if ours != source and ours in frame.columns]
    if taken:
        notes.append(f"left out, as another column was stated to be it: {some(map(repr, taken))}")
    frame = frame.drop(columns=taken).rename(columns=mapping)
    units = {ours: found for source, ours in mapping.items() if (found := unit(source, ours)[1])}
    tell(frame, columns=mapping, headings=units, read=(*about(frame).read, *notes))
    return frame, problems


def near(ours: str, columns: Sequence[str]) -> list[str]:
    """Columns that look as if they could be ``ours``, though no alias says so."""
    return [c for c in columns if re.search(SEARCHED.get(ours, ours), folded(c))]


def missing(ours: str, columns: Sequence[str]) -> tuple[str | Argument, ...]:
    """How to say which column of the file is ``ours``."""
    alike = near(ours, columns)
    if not alike:
        return (f"columns here: {some(columns)}",)
    first, *others = alike
    hint = "say which it is: ", Argument("columns", {ours: first})
    if others:
        hint = *hint, f" (or {some(map(repr, others))})"
    if ours == "loss" and any("bpb" in folded(c) or "bits_per_byte" in folded(c) for c in alike):
        unit = Argument("units", {"loss": "bits/byte"})
        hint = *hint, "; bits per byte are not nats per token: add ", unit, " with such a column"
    return hint
