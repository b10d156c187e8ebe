"""What the commands on a table do: load it with the columns they need, then fit, compare or draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from analysis import findings
from analysis.comparison import Comparison, compare
from analysis.figures import Drawn, Rendering, draw_law
from analysis.fits.fitting import fit
from analysis.fits.result import Fit
from analysis.hyperparameters.basins import Basins
from analysis.hyperparameters.basins import find as find_basins
from analysis.laws.law import Law
from analysis.laws.lookup import LAW, find, require
from analysis.optimal_size.estimate import Estimate
from analysis.optimal_size.estimators import ESTIMATORS, of_file
from analysis.referee.outcome import Page
from analysis.referee.page import check
from analysis.tables.expressions import nearest
from analysis.tables.loading import load
from analysis.tables.runs import sources as columns_of
from analysis.tables.table import about
from analysis.variants.comparison import Variants, compare_variants
from analysis.variants.comparison import names as variants_of
from scaling.errors import Complaint, UserError

COLUMNS = ("loss", "lr", "batch", "by", "lr_on", "batch_on")  # options of a sweep that name columns


def plot_table(
    sources: Sequence[Path],
    out: Path | None = None,
    reading: Mapping[str, Any] | None = None,
    rendering: Rendering | None = None,
) -> Drawn:
    """Draw the figures of a results folder or tables; ``out`` left out: ``figures`` beside the first;
    ``reading`` are arguments of :func:`analysis.load`, ``rendering`` formats and style.

    Raises:
        AnalysisError: the table cannot be read or analysed, or a frozen forecast was changed.
        UserError: ``out`` is a file.
    """
    out = _figures(sources[0], out)
    examined = findings.examine(_load(sources, reading), _folder(sources[0]) / "forecasts")
    return findings.draw(examined, sources[0], out, rendering)


def report_table(
    sources: Sequence[Path],
    out: Path | None = None,
    reading: Mapping[str, Any] | None = None,
    *,
    law: str = LAW,
    title: str | None = None,
    referee: bool = True,
) -> Path:
    """Write the report of a results folder or tables by a law; arguments of
    :func:`scaling.report.write_report`, ``reading`` those of :func:`analysis.load`.

    Raises:
        AnalysisError: there is no such law, the table cannot be read or analysed, or a frozen forecast was
            changed.
        UserError: ``out`` is a folder, or in none, or the law is an estimator.
    """
    from scaling.report import write_report  # of the page alone: others need none of it

    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        hint = "give a file in a folder that exists, like report.html"
        raise UserError(
            Complaint(f"--out {out}: is {'a folder' if out.is_dir() else 'in no folder'}", hint=hint)
        )
    if law in ESTIMATORS:
        hint = f"give a law of the loss, such as {LAW}"
        raise UserError(Complaint(f"--law {law}: an estimator of sizes has no law to report", hint=hint))
    table, requested = _load(sources, reading), require(law)
    if law != LAW:
        table = _table([requested], sources, reading, {})
    examined = findings.examine(table, _folder(sources[0]) / "forecasts", law=requested)
    return write_report(examined, sources, out, title=title, referee=referee)


def plot_law(
    sources: Sequence[Path],
    law: str,
    out: Path | None = None,
    reading: Mapping[str, Any] | None = None,
    *,
    drawing: Mapping[str, Any] | None = None,
    **options: Any,
) -> tuple[Fit | Estimate, Drawn]:
    """Fit one law as :func:`fit_table` and draw it, in a folder of its name unless ``out`` is given;
    ``drawing`` are arguments of :func:`analysis.figures.draw_law`.

    Raises:
        AnalysisError: the request is bad, or the table cannot be read.
        UserError: ``out`` is a file.
    """
    folder = _figures(sources[0], out)
    fitted = fit_table(sources, law, reading, **options)
    name = fitted.law.name if isinstance(fitted, Fit) else fitted.kind
    return fitted, draw_law(fitted, folder if out else folder / quote(name, safe=" "), **(drawing or {}))


def _folder(source: Path) -> Path:
    return source if source.is_dir() else source.parent


def _figures(source: Path, out: Path | None) -> Path:
    if out is not None and out.exists() and not out.is_dir():
        raise UserError(Complaint(f"out = {str(out)!r}: is a file", hint="name a folder"))
    return out or _folder(source) / "figures"


def _load(sources: Sequence[Path], reading: Mapping[str, Any] | None, **more: Any) -> pd.DataFrame:
    return load(sources, **more, **(reading or {}))


def fit_table(
    sources: Sequence[Path], law: str | Law = LAW, reading: Mapping[str, Any] | None = None, **options: Any
) -> Fit | Estimate:
    """Fit one law to a results folder or tables, or ask the estimator of that name; ``reading`` are arguments
    of :func:`analysis.load`, ``options`` those of :func:`analysis.fit`. The table must have the columns that
    a law needs, and of a law of N, D, C alone they must be plausible.

    Raises:
        AnalysisError: the request is bad, or the table cannot be read.
    """
    if isinstance(law, str) and law in ESTIMATORS:
        return of_file(law, sources[0] if len(sources) == 1 else sources, reading, **options)
    requested = require(law)
    return fit(requested, _table([requested], sources, reading, options), **options)


def compare_table(
    sources: Sequence[Path], laws: Sequence[str], reading: Mapping[str, Any] | None = None, **options: Any
) -> Comparison:
    """Compare laws on a results folder or tables: arguments of :func:`analysis.load` and
    :func:`analysis.compare`; errors of parameters are linearised unless ``bootstrap`` is given.

    Raises:
        AnalysisError: the request is bad, or the table cannot be read.
    """
    requested = [find(law) for law in laws]
    return compare(requested, _table(requested, sources, reading, options), **{"bootstrap": 0, **options})


def check_table(
    sources: Sequence[Path], law: str = LAW, reading: Mapping[str, Any] | None = None, **options: Any
) -> Page:
    """Put a results folder or tables and a law to a referee's tests: arguments of :func:`analysis.load` and
    :func:`analysis.check`.

    Raises:
        AnalysisError: the request is bad, or the table cannot be read.
    """
    requested = require(law)
    curves = findings.curves_beside(sources[0]) if len(sources) == 1 else None
    return check(_table([requested], sources, reading, options), requested, curves=curves, **options)


def compare_studies(
    sources: Sequence[Path], reading: Mapping[str, Any] | None = None, **options: Any
) -> Variants:
    """Compare the variants of one table; or several tables, each a variant by the name of its study, with the
    first of them. Arguments of :func:`analysis.load` and :func:`analysis.fit`.

    Raises:
        AnalysisError: the request is bad, or a table cannot be read.
        UserError: there is nothing to compare, or an option is of another comparison.
    """
    if unfit := [f"--{name}" for name in ("groups", "cluster", "fixed", "target") if name in options]:
        message = f"{', '.join(unfit)}: not of a comparison of studies"
        raise UserError(Complaint(message, hint="leave it out, or compare laws: --law LAW --law LAW"))
    if len(sources) > 1:
        tables: list[Any] = [_load([source], reading) for source in sources]
        named = [_study(table) for table in tables]
        if None in named or len(set(named)) < len(named):
            named = list(map(str, sources))
        for table, name in zip(tables, named, strict=True):
            own = table["variant"] if variants_of(table) else [""] * len(table)
            table["variant"] = [f"{name} {variant}".strip() for variant in own]
        return compare_variants(pd.concat(tables, ignore_index=True), **options)
    table = _load(sources, reading)
    if not variants_of(table):
        hint = f"name a second study, or two laws: --law {LAW} --law tied"
        raise UserError(Complaint("one study without variants: nothing to compare", str(sources[0]), hint))
    return compare_variants(table, **options)


def _study(table: Any) -> str | None:
    """The one study that the runs of a table are of; None where it does not say."""
    studies = table["study"].dropna().unique() if "study" in table.columns else ()
    return str(studies[0]) if len(studies) == 1 else None


def sweep_of(
    sources: Sequence[Path], asked: Mapping[str, Any], reading: Mapping[str, Any] | None = None
) -> Basins:
    """Basins of a table: arguments of :func:`analysis.basins.find`, and of :func:`analysis.load`. Of learning
    rate and batch, what is not asked for is tuned where the table has its column.

    Raises:
        AnalysisError: the request is bad, or the table cannot be read.
        UserError: the table has neither, or not a column that is named.
    """
    needs = *asked.get("by", ("params", "tokens")), asked.get("loss", "loss")
    frame = _load(sources, reading, needs=needs)
    names = about(frame).columns
    known = {name: names.get(x, x) if name in ("lr", "batch", "loss") else x for name, x in asked.items()}
    tuned = {"lr": "learning_rate", "batch": "batch_tokens"}
    named = {x: [name] if isinstance(name, str) else name or () for x, name in known.items() if x in COLUMNS}
    if missing := [(x, name) for x, names in named.items() for name in names if name not in frame]:
        hints = (nearest(name, list(frame.columns)) for _, name in missing)
        options = (f"--{x.replace('_', '-')} {name}" for x, name in missing)
        pairs = zip(options, hints, strict=True)
        raise UserError(*(Complaint(f"{option}: no such column", hint=hint) for option, hint in pairs))
    absent: dict[str, Any] = {
        x: None for x, column in tuned.items() if x not in known and column not in frame
    }
    if {*absent} == {*tuned}:
        message = f"no column {' or '.join(tuned.values())}"
        hint = "name what was swept, such as --lr 'max lr'"
        raise UserError(Complaint(message, ", ".join(map(str, sources)), hint))
    found = find_basins(frame, **known, **absent)
    notes = tuple(f"no column {tuned[x]}: only the other is tuned" for x in absent)
    return replace(found, notes=(*found.notes, *notes))


def _table(
    laws: Sequence[Law],
    sources: Sequence[Path],
    reading: Mapping[str, Any] | None,
    options: Mapping[str, Any],
) -> pd.DataFrame:
    """The table with the columns that these laws and options need."""
    target, needs = options.get("target", "loss"), []
    for law in laws:
        ours = set(law.inputs) <= {"N", "D", "C", "M"} or {"N", "D"} <= set(law.inputs)
        inputs = [*law.inputs, *(["L"] if ours and target == "loss" else [])]
        needs += columns_of(inputs, options.get("convention", "total"))
    needs += [options[x] for x in ("target", "weights", "groups", "cluster") if options.get(x)]
    return _load(sources, reading, needs=tuple(dict.fromkeys(needs)))
