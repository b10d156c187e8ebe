"""``plot``: the figures of a study, or of a law."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from scaling.cli import options as option
from scaling.cli import say
from scaling.cli.options import grouped
from scaling.cli.printing import Printing
from scaling.errors import Complaint, UserError


@grouped
def plot(
    table: option.Tables,
    *,
    law: Annotated[
        str | None,
        typer.Option(help="fit this law, a name or file.py:NAME, and draw it; left out: the whole study"),
    ] = None,
    x: Annotated[str | None, typer.Option("--x", help="the input that the law is drawn over")] = None,
    by: Annotated[str | None, typer.Option(help="the input with a curve for every level")] = None,
    profile: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="draw the profile of a parameter; repeatable")
    ] = None,
    reading: option.Reading,
    fitting: option.Fitting,
    out: Annotated[
        Path | None, typer.Option(help="folder of the figures; left out: beside the table")
    ] = None,
    printing: Printing,
    as_json: option.Json = False,
) -> None:
    """Draw the figures of a study, or those of one law.

    Without --law: every figure that the table has the columns for. With it: the law, its residuals, intervals
    and profiles; options of the fit that are left out are those of `scaling fit`.
    """
    from scaling.cli.tables import plot_law, plot_table

    rendering = printing.rendering()
    if law is None:
        refuse({"x": x, "by": by, "profile": profile, **asdict(fitting)})
        drawn = plot_table(table, out, reading.arguments(), rendering)
        more, about_fit = ["--law", option.USUAL_LAW, *reading.typed(), *printing.typed()], {}
    else:
        drawing = {"x": x, "by": by, "profiles": profile or (), "rendering": rendering}
        fitted, drawn = plot_law(table, law, out, reading.arguments(), drawing=drawing, **fitting.arguments())
        about_fit = {"law": law, "status": asdict(fitted.status)}
        more = [
            "--law",
            law,
            *reading.typed(),
            *fitting.typed(),
            *printing.typed(),
            *unclear(fitted, profile),
        ]
    if as_json:
        return say.data({**about_fit, "figures": list(map(str, drawn.paths)), "skipped": drawn.skipped})
    print("\n".join([*map(str, drawn.paths), *not_drawn(drawn.skipped)]))
    further = "--profile" in more if law else "fit_and_residuals" not in drawn.skipped
    more = more if further else [word for word in more if word not in printing.typed()]
    say.next_command("plot" if further else "fit", *table, *more)
    return None


def refuse(options: Mapping[str, Any]) -> None:
    """Options of a law, where none is asked for.

    Raises:
        UserError: any is given.
    """
    given = option.spelt(options)[::2]
    if given:
        hint = f"say which, such as --law {option.USUAL_LAW}"
        raise UserError(*(Complaint(f"{name}: belongs to a law", hint=hint) for name in dict.fromkeys(given)))


def not_drawn(skipped: Mapping[str, str]) -> list[str]:
    """A line for each reason."""
    names: dict[str, list[str]] = {}
    for name, reason in skipped.items():
        names.setdefault(reason, []).append(name)
    return [f"not drawn: {', '.join(figures)}: {reason}" for reason, figures in names.items()]


def unclear(fitted: Any, profiled: Sequence[str] | None) -> list[str]:
    """The profile to look at next: of the first free parameter that is not identified."""
    verdicts = fitted.identified if hasattr(fitted, "profile") else {}  # an estimate has none
    free = [
        n
        for n in fitted.solution
        if n in verdicts and n not in fitted.fixed and verdicts[n]["verdict"] != "yes"
    ]
    return ["--profile", free[0]] if free and not profiled else []
