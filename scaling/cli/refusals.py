"""What the parser of options refuses, told as the other errors of a user are."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from scaling.errors import Complaint, UserError


class Commands(TyperGroup):
    """A group of commands whose parser names the value it refuses."""

    def invoke(self, ctx: Any) -> Any:
        """Call the command that was typed. Raises UserError with every value its options refuse."""
        from pydantic import ValidationError

        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            if not isinstance(error.__cause__, ValidationError):
                raise
            raise UserError(*_refused(error, error.__cause__)) from None


def _refused(error: typer.BadParameter, cause: Any) -> list[Complaint]:
    name = _typed(error.param)
    help_of = f"`{error.ctx.command_path} --help`" if error.ctx else "`scaling --help`"
    return [
        Complaint(
            f"{name} {item['input']}: {item['msg'].replace('Input should', 'must')}",
            hint=f"see {name} in {help_of}",
        )
        for item in cause.errors()
    ]


def _typed(parameter: Any) -> str:
    """An option as it is typed, the long name; an argument as the help names it."""
    options = [name for name in parameter.opts if name.startswith("-")]
    return max(options, key=len) if options else parameter.make_metavar(None)
