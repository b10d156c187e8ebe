"""``forecasts``: what was forecast in all studies, what came of it, and how far to trust the intervals."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from scaling.cli import say
from scaling.cli.columns import columns
from scaling.cli.options import Json, Options, grouped
from scaling.cli.printing import Printing
from scaling.cli.words import flops
from scaling.errors import Complaint, UserError, plural

if TYPE_CHECKING:
    from analysis.figures import Rendering
    from analysis.forecasting.calibration import Calibration
    from analysis.forecasting.published import Published
    from analysis.forecasting.ratio import Ratio
    from analysis.forecasting.survey import Entry, Survey

RESULTS = Path("results")


class _Listing(TyperGroup):
    """A group whose first command is meant where none is named: its arguments are folders."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = [next(iter(self.commands)), *args]
        return super().parse_args(ctx, args)


@dataclass(frozen=True)
class One(Options):
    """A published forecast, its fields as text."""

    name: Annotated[str | None, typer.Option(help="what was forecast; with these options, without FILE")] = (
        None
    )
    source: Annotated[str | None, typer.Option(help="where it stands, such as arXiv:2403.08540")] = None
    reported: Annotated[
        str | None, typer.Option(metavar="before|with", help="published before its outcome, or with it")
    ] = None
    predicted: Annotated[str | None, typer.Option(metavar="LOSS", help="the value forecast")] = None
    low: Annotated[str | None, typer.Option(metavar="LOSS", help="lower end of its interval")] = None
    high: Annotated[str | None, typer.Option(metavar="LOSS", help="upper end of its interval")] = None
    level: Annotated[str | None, typer.Option(help="of the interval, such as 0.9")] = None
    measured: Annotated[str | None, typer.Option(metavar="LOSS", help="the outcome, once known")] = None
    flops: Annotated[str | None, typer.Option(help="compute of the run")] = None
    fitted_flops: Annotated[str | None, typer.Option(help="the largest compute that was fitted")] = None


app = typer.Typer(
    cls=_Listing,
    rich_markup_mode=None,
    help="List frozen forecasts with their scores, and how well all of them are calibrated. "
    "`scaling forecasts [FOLDERS]` is short for `scaling forecasts list [FOLDERS]`.",
)


@app.command("list")
@grouped
def list_(
    *,
    places: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="FOLDERS", help="folders of studies, files of published ones; left out: results"
        ),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="also those that newer ones superseded")] = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="draw the reliability curve and the errors")
    ] = None,
    printing: Printing,
    as_json: Json = False,
) -> None:
    """List forecasts over studies, with scores and calibration; exit code 1 where a file is damaged."""
    from analysis.forecasting import calibration, ratio
    from analysis.forecasting.survey import survey

    rendering = printing.of_figures("--plot", plot)
    found = survey(_places(places))
    ours = calibration.outcomes_of(found.entries)
    others = calibration.published_outcomes(found.published)
    measured = ratio.discrepancy_ratio(ours)
    ours, others = (calibration.calibrate(part) if part else None for part in (ours, others))
    if plot is not None:
        _draw(plot, ours, others, rendering)
    if as_json:
        say.data(_as_json(found, ours, others, measured))
    else:
        print(_text(found, ours, others, measured, every=every))
        if plot is None and ours is not None:
            say.next_command("forecasts", *(places or []), "--plot", "figures")
    for problem in found.unreadable:
        say.note(f"left out: {problem}")
    if found.unreadable:
        raise typer.Exit(1)


def _places(places: list[Path] | None) -> list[Path]:
    if not places and not RESULTS.is_dir():
        raise UserError(
            Complaint("no folder is named, and there is no results here", hint="name a folder of studies")
        )
    return places or [RESULTS]


@app.command()
@grouped
def add(
    *,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="a CSV of published forecasts, a row each")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="where they are kept; left out: results/published_forecasts.csv"),
    ] = None,
    one: One,
    as_json: Json = False,
) -> None:
    """Enter forecasts that others published; they are checked, and listed apart from ours."""
    from analysis.forecasting import published

    typed = one.arguments()
    if (file is None) == (not typed):
        hint = "name a file, or --name, --source, --reported, --predicted and so on"
        raise UserError(
            Complaint("add: takes a file or options for one forecast, not both or none", hint=hint)
        )
    entries = published.read(file) if file is not None else (published.entry(typed, "add"),)
    target = to or RESULTS / published.FILE
    changed = published.add(entries, target)
    if as_json:
        return say.data({"file": str(target), "entered": changed, "already_there": len(entries) - changed})
    there = f", {len(entries) - changed} there already" if changed < len(entries) else ""
    print(f"{target}: {plural(changed, 'forecast')} entered{there}")
    say.next_command("forecasts", *([] if to is None else [RESULTS, to]))
    return None


def _draw(
    folder: Path, ours: Calibration | None, others: Calibration | None, rendering: Rendering | None
) -> None:
    """Write the figure to a folder, which is made where it is not there.

    Raises:
        UserError: it cannot be written, or there is nothing to draw.
    """
    from analysis.figures import draw_calibration

    if ours is None:
        raise UserError(
            Complaint("--plot: no frozen forecast has an outcome", hint="train the runs that were forecast")
        )
    try:
        drawn = draw_calibration(ours, others, folder, rendering=rendering)
    except OSError as error:
        raise say.unwritable(f"--plot {folder}", error, "name a folder that can be written to") from None
    for path in drawn.paths:
        say.note(f"drawn: {path}")


def _as_json(
    found: Survey, ours: Calibration | None, others: Calibration | None, measured: Ratio | None
) -> dict[str, Any]:
    from dataclasses import asdict

    from analysis.codec import plain
    from analysis.fits.discrepancy import shipped

    return {
        "forecasts": [_entry_json(entry) for entry in found.entries],
        "copies": found.copies,
        "unreadable": [str(problem) for problem in found.unreadable],
        "calibration": None if ours is None else ours.to_dict(),
        "discrepancy": {"shipped": plain(shipped()), "ratio": plain(measured)},
        "published": [asdict(one) for one in found.published],
        "published_calibration": None if others is None else others.to_dict(),
    }


def _entry_json(entry: Entry) -> dict[str, Any]:
    forecast, score = entry.forecast, entry.score
    return {
        "study": str(entry.study), "hash": forecast.hash, "state": entry.state, "law": forecast.law["name"],
        "target": forecast.target, "extrapolation": forecast.extrapolation,
        "prediction": forecast.prediction, "interval": forecast.interval, "parts": forecast.parts,
        "se_log": forecast.se_log, "baseline": forecast.baseline,
        "loss": score and score.loss, "error": score and score.error,
        "standard_errors": score and score.standard_errors, "inside": score and score.inside,
    }  # fmt: skip


def _text(
    found: Survey,
    ours: Calibration | None,
    others: Calibration | None,
    measured: Ratio | None,
    *,
    every: bool,
) -> str:
    from analysis.fits.discrepancy import shipped
    from analysis.forecasting.summary import shipped_text

    counts = Counter(entry.state for entry in found.entries)
    said = ", ".join(f"{counts[state]} {state}" for state in counts) or "none"
    copies = (
        f"; {found.copies} more {'is' if found.copies == 1 else 'are'} the same text" if found.copies else ""
    )
    blocks = [f"FORECASTS in {plural(len(found.studies), 'study folder')}: {said}{copies}"]
    blocks = blocks if found.entries or not found.published else []
    shown = [entry for entry in found.entries if every or entry.state != "superseded"]
    if shown:
        blocks.append(_table(shown))
    if ours is not None:
        blocks.append(f"CALIBRATION of ours\n{ours.summary()}")
        blocks.append(f"DISCREPANCY\n  {shipped_text(shipped(), ours.level)}\n  {_own(ours, measured)}")
    elif found.entries:
        blocks.append("CALIBRATION: no frozen forecast has an outcome yet")
    if found.published:
        blocks.append(_published(found.published))
    if others is not None:
        blocks.append(f"CALIBRATION of published ones (their intervals taken as normal)\n{others.summary()}")
    return "\n\n".join(blocks)


def _own(ours: Calibration, measured: Ratio | None) -> str:
    """What the scores of a user say of the discrepancy, and of how many they say nothing."""
    from analysis.forecasting.summary import ratio_text

    known = 0 if measured is None else measured.forecasts
    without = len(ours.outcomes) - known
    left = f"{plural(without, 'scored forecast')} had no such part: frozen before it, or inside the data"
    if measured is None:
        return left
    return ratio_text(measured) + (f"\n  {left}" if without else "")


def _table(entries: list[Entry]) -> str:
    header = ["study", "target", "compute", "beyond", "forecast", "interval", "measured", "error", "s.e.", ""]
    rows = []
    for entry in entries:
        forecast = entry.forecast
        interval, target = forecast.interval, forecast.target
        rows.append(
            [
                *(str(entry.study), target["label"] or target["run_id"] or "-"),
                *(flops(target["C"]), f"{forecast.extrapolation:.1f}x", f"{forecast.prediction:.3f}"),
                f"{interval['level']:.0%} [{interval['low']:.3f}, {interval['high']:.3f}]",
                *_fate(entry),
            ]
        )
    return columns(header, rows, left=2)


def _fate(entry: Entry) -> tuple[str, ...]:
    score = entry.score
    if score is None:
        return "-", "-", "-", entry.state
    place = "inside" if score.inside else "OUTSIDE"
    return f"{score.loss:.3f}", f"{score.error:+.2%}", f"{score.standard_errors:+.2f}", place


def _published(entries: tuple[Published, ...]) -> str:
    header = ["published", "source", "reported", "beyond", "forecast", "interval", "measured", "error"]
    rows = []
    for one in entries:
        far = "-" if one.extrapolation is None else f"{one.extrapolation:.1f}x"
        ends = "-" if one.low is None else f"{one.level:.0%} [{one.low:g}, {one.high:g}]"
        outcome = ["-", "-"]
        if one.measured is not None:
            outcome = [f"{one.measured:g}", f"{one.centre / one.measured - 1:+.2%}"]
        rows.append(
            [one.name, one.source, f"{one.reported} its outcome", far, f"{one.centre:.4g}", ends, *outcome]
        )
    return columns(header, rows, left=3)
