"""How figures look and are written: style files, width, formats. No settings change outside a figure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from analysis.errors import AnalysisError, Argument, Complaint

FOLDER = Path(__file__).parent / "styles"
NAMED = ("paper", "talk")
# format of a file -> what says when and by what it was made: left out, for equal bytes from equal inputs
FORMATS: dict[str, dict[str, None]] = {
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Date": None, "Creator": None},
    "png": {"Software": None},
}
COMMENT = re.compile(r'#(?=([^"]*"[^"]*")*[^"]*$).*')  # a sign in quotes begins none: it is a colour
LEAST, MOST = 1.5, 40.0  # inches of width

_within: ContextVar[bool] = ContextVar("within a look", default=False)


@dataclass(frozen=True)
class Rendering:
    """How figures are written.

    Attributes:
        formats: of the files, each figure in every one: pdf, svg, png.
        style: ``paper``, ``talk``, or a file of matplotlib's settings (``.mplstyle``); None: the settings of
            matplotlib that were changed, and our own.
        width: inches; None: that of the style.
    """

    formats: tuple[str, ...] = ("png",)
    style: str | Path | None = None
    width: float | None = None

    def __post_init__(self) -> None:
        problems: list[Complaint | str] = []
        if unknown := [name for name in self.formats if name not in FORMATS]:
            given = Argument("format", ",".join(unknown))
            problems.append(Complaint((given, f": must be one of {', '.join(FORMATS)}")))
        elif not self.formats:
            problems.append(f"format: none is given; choose one of {', '.join(FORMATS)}")
        if self.width is not None and not (isfinite(self.width) and LEAST <= self.width <= MOST):
            problems.append(f"width = {self.width:g} inches: must be {LEAST:g} to {MOST:g}, such as 3.25")
        try:
            settings(self.style)
        except AnalysisError as error:
            problems += error.problems
        if problems:
            raise AnalysisError(problems)


def settings(style: str | Path | None) -> dict[str, Any]:
    """The settings of matplotlib that a style makes. Raises AnalysisError: no such style, or a bad file."""
    if style is None:
        return {}
    file = FOLDER / f"{style}.mplstyle" if style in NAMED else Path(style)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        hint = f"choose {' or '.join(NAMED)}, or a file .mplstyle"
        given = Argument("style", str(style))
        raise AnalysisError(Complaint((given, ": no such style"), hint=hint)) from None
    found, problems, known = dict[str, Any](), [], set(map(str, mpl.rcParams))
    for number, line in enumerate(lines, 1):
        name, colon, value = (part.strip() for part in COMMENT.sub("", line).partition(":"))
        if not name:
            continue
        try:
            if name not in known or not colon:
                raise ValueError(_unknown(name) if colon else "must be NAME: VALUE")
            found |= mpl.RcParams({name: value.strip("\"'")})
        except ValueError as error:
            problems.append(f"{file}:{number}: {name}: {error}")
    if problems:
        raise AnalysisError(problems)
    return found


def _unknown(name: str) -> str:
    close = get_close_matches(name, mpl.rcParams, n=1)
    return f"no setting of matplotlib; did you mean {close[0]}?" if close else "no setting of matplotlib"


@contextmanager
def look(style: str | Path | None = None, width: float | None = None) -> Iterator[None]:
    """Settings of the figures made within: those that the user changed from matplotlib's defaults, and for
    the rest our own; a style goes before both.

    Args:
        style: as of :class:`Rendering`.
        width: of a figure, inches; left out: that of the settings.

    Raises:
        AnalysisError: there is no such style, or its file cannot be read.
    """
    if _within.get() and style is None and width is None:
        yield
        return
    default = mpl.rcParamsDefault
    changed = () if _within.get() else (name for name in default if mpl.rcParams[name] != default[name])
    own = {} if _within.get() else settings(FOLDER / "base.mplstyle")
    for name in changed:
        own.pop(name, None)
    chosen: Any = {**own, **settings(style)}
    if width is not None:
        height = chosen.get("figure.figsize", mpl.rcParams["figure.figsize"])[1]
        chosen["figure.figsize"] = [width, height]
    token = _within.set(True)
    try:
        with mpl.rc_context(chosen):
            yield
    finally:
        _within.reset(token)


def save(
    figures: Mapping[str, Callable[[], Any]], folder: str | Path, rendering: Rendering | None = None
) -> tuple[Path, ...]:
    """Draw and write figures one after another; files of the same name are replaced.

    Args:
        figures: by the name of the file, what draws it: axes, one or several, of one figure.
        folder: where to write.
        rendering: formats and style; left out: png.

    Returns:
        The paths written, in order.
    """
    rendering, folder, paths = rendering or Rendering(), Path(folder), []
    with look(rendering.style, rendering.width):
        for name, draw in figures.items():
            figure = np.ravel(draw())[0].get_figure(root=True)
            folder.mkdir(parents=True, exist_ok=True)
            for form in dict.fromkeys(rendering.formats):
                paths.append(folder / f"{name}.{form}")
                figure.savefig(paths[-1], format=form, metadata=FORMATS[form])
    return tuple(paths)
