"""The forecasts of many studies: found in their folders, each counted once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from analysis.errors import AnalysisError, Complaint
from analysis.forecasting import ledger, published
from analysis.forecasting.forecasts import Forecast, Score
from analysis.forecasting.published import Published

FOLDER = "forecasts"  # of a study
WITHOUT = frozenset({"runs", "jobs", "figures", "fits"})  # folders of a study that are not gone through

State = Literal["scored", "open", "superseded", "hindsight"]
STATES = get_args(State)  # of copies the first of these counts


@dataclass(frozen=True)
class Entry:
    """A frozen forecast of a ``study`` (its folder) and what became of it. ``score``: of a ``scored`` one."""

    study: Path
    forecast: Forecast
    state: State
    score: Score | None = None


@dataclass(frozen=True)
class Survey:
    """``entries``: frozen forecasts by study, each once; ``copies``: how many more were the same text;
    ``published``: those of others; ``unreadable``: what is wrong with the files that are left out."""

    entries: tuple[Entry, ...]
    published: tuple[Published, ...] = ()
    copies: int = 0
    unreadable: tuple[Complaint, ...] = ()

    @property
    def scored(self) -> tuple[Entry, ...]:
        return tuple(entry for entry in self.entries if entry.score is not None)

    @property
    def studies(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(entry.study for entry in self.entries))


def survey(places: Iterable[str | Path]) -> Survey:
    """Find the forecasts of all studies below some folders, and those in files of published ones.

    A file that is damaged is left out and reported. Raises AnalysisError for a place that is not there, or a
    file given that cannot be read.
    """
    places = [Path(place) for place in places]
    missing = [place for place in places if not place.exists()]
    if missing:
        hint = f"name a results folder, a folder of such, or a file like {published.FILE}"
        raise AnalysisError([Complaint("is not there", str(place), hint) for place in missing])
    entries: dict[str, Entry] = {}
    others: dict[tuple[str, str], Published] = {}
    copies, unreadable, seen = 0, list[Complaint](), set[Path]()
    for path in (found for place in places for found in _below(place)):
        if path.resolve() in seen:
            continue
        seen.add(path.resolve())
        try:
            if not path.is_dir():
                others |= {one.key: one for one in published.read(path)}
                continue
            found = _of_study(path)
        except AnalysisError as error:
            if path in places:
                raise
            unreadable += error.problems
            continue
        for entry in found:
            twin = entries.get(entry.forecast.hash)
            copies += twin is not None
            if twin is None or STATES.index(entry.state) < STATES.index(twin.state):
                entries[entry.forecast.hash] = entry
    return Survey(tuple(entries.values()), tuple(others.values()), copies, tuple(unreadable))


def _below(place: Path) -> Iterator[Path]:
    """Folders of forecasts and files of published ones below a place, sorted; or the place itself."""
    if place.is_file() or place.name == FOLDER:
        yield place
        return
    for folder, inside, files in os.walk(place):
        if FOLDER in inside:
            yield Path(folder, FOLDER)
        if published.FILE in files:
            yield Path(folder, published.FILE)
        inside[:] = sorted(name for name in inside if name not in {FOLDER, *WITHOUT} and name[0] != ".")


def _of_study(folder: Path) -> list[Entry]:
    """The forecasts of one folder. Raises AnalysisError."""
    entries = []
    for forecast in ledger.read(folder):
        state, score = ledger.status(forecast, folder)["state"], ledger.load_score(folder, forecast)
        counted: State = state if state != "open" else "open" if score is None else "scored"
        entries.append(Entry(folder.parent, forecast, counted, score if counted == "scored" else None))
    return sorted(entries, key=lambda entry: (entry.forecast.target["C"], entry.forecast.hash))
