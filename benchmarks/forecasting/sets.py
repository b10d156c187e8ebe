"""Tables of runs that forecasts are tried on: published ones by name, or any folder of tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

COLUMNS = ["params", "tokens", "flops", "loss"]


@dataclass(frozen=True)
class Set:
    """``runs``: columns params, tokens, flops, loss, sorted by flops. Sets of one ``family`` share authors,
    code and recipe."""

    family: str
    name: str
    runs: pd.DataFrame


def published(folder: Path) -> Iterator[Set]:
    """The sets of the folder of published runs, by family."""
    read = {path.parent.name: path for path in folder.glob("*/runs.csv")}
    yield from _hoffmann(read)
    yield from _gemstones(read)
    yield from _gadre(read)
    yield from _porian(read)
    yield from _cells(read)
    yield from _olmo(read)
    yield from _xlstm(read)
    yield from _farseer(folder / "scalebench" / "farseer")


def of_folder(folder: Path) -> Iterator[Set]:
    """Every CSV below ``folder`` with params, tokens and loss; its first directory names the family, or the
    file itself where it lies at the top."""
    for path in sorted(folder.rglob("*.csv")):
        table = pd.read_csv(path)
        if {"params", "tokens", "loss"} <= set(table.columns):
            inner = path.relative_to(folder)
            family = inner.parts[0] if len(inner.parts) > 1 else path.stem
            yield _set(family, str(inner.with_suffix("")), table)


def _set(family: str, name: str, table: pd.DataFrame) -> Set:
    table = table.astype({"params": float, "tokens": float})
    if "flops" not in table:
        table = table.assign(flops=6 * table["params"] * table["tokens"])
    runs = table[COLUMNS].astype(float).dropna()
    return Set(family, name, runs.sort_values("flops", kind="stable", ignore_index=True))


def _hoffmann(read: dict[str, Path]) -> Iterator[Set]:
    table = pd.read_csv(read["chinchilla_epoch"])
    yield _set("hoffmann", "epoch", table[table["excluded_by_epoch"] == 0])
    yield _set("hoffmann", "ml_scalefit", pd.read_csv(read["ml_scalefit_chinchilla"]))


def _gemstones(read: dict[str, Path]) -> Iterator[Set]:
    table = pd.read_csv(read["gemstones"])
    yield _set("gemstones", "cool_end", table[table["subset"] == "cool_end"])
    hot = table[table["subset"] == "hot_100b+"]
    fifth = (hot["tokens"] / 1e10).round() % 5 == 0
    yield _set("gemstones", "hot_100b+", hot[fifth])


def _gadre(read: dict[str, Path]) -> Iterator[Set]:
    table = pd.read_csv(read["gadre"])
    for name, rows in table.groupby("dataset"):
        yield _set("gadre", str(name), rows.drop(columns="loss", errors="ignore").rename(
            columns={"loss_c4_val": "loss"}))  # fmt: skip


def _porian(read: dict[str, Path]) -> Iterator[Set]:
    table = pd.read_csv(read["porian"])
    for wanted in (
        "rw base short chinchilla standard", "rw base long kaplan kaplan",
        "rw tuned short const standard", "owt2 tuned short const standard",
    ):  # fmt: skip
        named = table[["dataset", "hparams", "warmup", "decay", "param_count"]].agg(" ".join, axis=1)
        yield _set("porian", wanted, table[named == wanted])


def _cells(read: dict[str, Path]) -> Iterator[Set]:
    """The least loss of each N and D, of sweeps of hyperparameters."""
    steplaw = pd.read_csv(read["steplaw_dense"])
    steplaw = steplaw.drop(columns="loss").rename(columns={"smooth_loss": "loss"})
    misfitting = pd.read_csv(read["misfitting"])
    misfitting = misfitting[misfitting["portion_steps_elapsed"] >= 0.999]
    for family, table in (("steplaw", steplaw), ("misfitting", misfitting)):
        best = table.loc[table.groupby(["params", "tokens"])["loss"].idxmin()]
        yield _set(family, family, best)


def _olmo(read: dict[str, Path]) -> Iterator[Set]:
    table = pd.read_csv(read["olmo_ladder"])
    table = table[~table["run"].str.endswith("rerun")]
    named = {"tokens_nominal": "tokens", "c4_en_CrossEntropyLoss": "loss"}
    yield _set("olmo", "ladder", table.rename(columns=named))


def _xlstm(read: dict[str, Path]) -> Iterator[Set]:
    table = pd.read_csv(read["xlstm_isoflop"])
    table = table[table["val_step"] == table["last_logged_step"]]
    for arch, context in (("llama", 2048), ("llama", 8192), ("llama", 16384), ("mlstm", 16384)):
        rows = table[(table["arch"] == arch) & (table["context"] == context)]
        yield _set("xlstm", f"{arch} {context}", rows.rename(columns={"val_loss": "loss"}))


def _farseer(folder: Path) -> Iterator[Set]:
    table = pd.concat([pd.read_csv(folder / f"{part}.csv") for part in ("train", "test")])
    yield _set("farseer", "farseer", table.rename(columns={"N": "params", "D": "tokens"}))
