"""What the parser of options refuses, told as the other errors of a user are."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

import typer
from typer.core import TyperGroup

from scaling.errors import Complaint, UserError

# Typer names BadParameter alone of the exceptions of its parser, which is click or a copy of it, by version.
NoSuchOption: Any = sys.modules[typer.BadParameter.__module__].NoSuchOption


class Commands(TyperGroup):
    """A group of commands whose parser names the value it refuses."""

    def invoke(self, ctx: Any) -> Any:
        """Call the command that was typed. Raises UserError with every value its options refuse, or with an
        option that it does not have."""
        from pydantic import ValidationError

        typed = list(ctx.args)
        try:
            return super().invoke(ctx)
        except NoSuchOption as error:
            raise UserError(_unknown(error, typed)) from None
        except typer.BadParameter as error:
            if not isinstance(error.__cause__, ValidationError):
                raise
            raise UserError(*_all_refused(error, typed)) from None


def _unknown(error: Any, typed: list[str]) -> Complaint:
    """Say what was typed in place of an option; of the name of a column, how columns are named."""
    name, path = error.option_name, error.ctx.command_path
    known = {option for parameter in error.ctx.command.params for option in parameter.opts}
    close = get_close_matches(name, sorted(known), n=1)
    hint = f"did you mean {close[0]}?" if close else f"see `{path} --help`"
    is_column = "--column" in known and _is_column(column := name.removeprefix("--").replace("-", "_"))
    value = _value(name, typed, apart=is_column)
    if is_column:
        hint = f"the columns of a table are named with --column {column}={value or 'THEIRS'}"
        hint += f", what is fitted with --target {value or 'COLUMN'}" if "--target" in known else ""
    return Complaint(f"{name} {value}".rstrip() + f": is no option of `{path}`", hint=hint)


def _value(name: str, typed: list[str], *, apart: bool) -> str:
    """What was typed as the value of an option, after ``=`` or, where that may be, ``apart`` from it."""
    joined = (text.removeprefix(f"{name}=") for text in typed if text.startswith(f"{name}="))
    after = (text for option, text in pairwise(typed) if option == name and not text.startswith("-"))
    return next(joined, next(after, "") if apart else "")


def _is_column(name: str) -> bool:
    from analysis.tables.columns import ALIASES

    return any(name in (ours, *theirs) for ours, theirs in ALIASES.items())


def _all_refused(first: typer.BadParameter, typed: list[str]) -> Iterator[Complaint]:
    """Say what is wrong with each value that was typed; the parser stops at the ``first``."""
    context = first.ctx
    if context is None:
        return (yield from _refused(first))
    name = str(context.info_name)
    own = typed[typed.index(name) + 1 :] if name in typed else typed
    values, arguments, _ = context.command.make_parser(context).parse_args(args=own)
    for parameter in context.command.get_params(context):
        try:
            _, arguments = parameter.handle_parse_result(context, values, arguments)
        except typer.BadParameter as error:
            yield from _refused(error)


def _refused(error: typer.BadParameter) -> Iterator[Complaint]:
    """Say what is wrong with a value; nothing of one that is missing."""
    from pydantic import ValidationError

    if isinstance(error.__cause__, ValidationError):
        name = _typed(error.param)
        help_of = f"`{error.ctx.command_path} --help`" if error.ctx else "`scaling --help`"
        for item in error.__cause__.errors():
            message = f"{name} {item['input']}: {item['msg'].replace('Input should', 'must')}"
            yield Complaint(message, hint=f"see {name} in {help_of}")


def _typed(parameter: Any) -> str:
    """An option as it is typed, the long name; an argument as the help names it."""
    options = [name for name in parameter.opts if name.startswith("-")]
    return max(options, key=len) if options else parameter.make_metavar(None)
