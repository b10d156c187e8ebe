"""Options of every command that draws: how its figures are written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scaling.cli import options as option
from scaling.errors import Complaint, UserError

if TYPE_CHECKING:
    from analysis.figures import Rendering

INCHES = {"in": 1.0, "cm": 1 / 2.54, "mm": 1 / 25.4, "pt": 1 / 72.27}  # points as TeX has them


@dataclass(frozen=True)
class Printing(option.Options):
    """Say how figures are written."""

    format: Annotated[
        str | None, typer.Option(metavar="FORMATS", help="pdf, svg, png, or several: pdf,svg; left out: png")
    ] = None
    style: Annotated[
        str | None,
        typer.Option(help="paper, talk, or FILE.mplstyle, settings of matplotlib; left out: our own"),
    ] = None
    width: Annotated[
        str | None, typer.Option(help="of a figure: 3.25in, 8.5cm, 246pt; left out: that of the style")
    ] = None

    def rendering(self) -> Rendering:
        """The options as the analysis takes them.

        Raises:
            AnalysisError: there is no such format or style, or the width is out of range.
            UserError: the width is of another form.
        """
        from analysis.figures import Rendering

        formats = ("png",) if self.format is None else tuple(map(str.strip, self.format.split(",")))
        return Rendering(formats, self.style, None if self.width is None else inches(self.width))

    def of_figures(self, asked: str, folder: Path | None) -> Rendering | None:
        """The same for a command that draws into ``folder`` where ``asked`` for; None: it does not.

        Raises:
            AnalysisError: as above.
            UserError: an option is given, and no folder.
        """
        if folder is not None:
            return self.rendering()
        if given := self.typed()[::2]:
            hint = f"name a folder: {asked} figures"
            raise UserError(*(Complaint(f"{name}: belongs to {asked}", hint=hint) for name in given))
        return None


def inches(text: str) -> float:
    """A length in inches.

    Raises:
        UserError: it is no number with a unit.
    """
    found = re.fullmatch(rf"\s*(\d+\.?\d*|\.\d+)\s*({'|'.join(INCHES)})\s*", text)
    if found is None:
        hint = f"a number and {', '.join(INCHES)}, such as --width 3.25in"
        raise UserError(Complaint(f"--width {text}: must be a length", hint=hint))
    return float(found[1]) * INCHES[found[2]]
