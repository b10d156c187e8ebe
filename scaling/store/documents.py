"""Files that are frozen models with a schema version: written and read here alone. Imports nothing heavy.

Keys are written as they were given, so what a file leaves out stays left out when it is rewritten.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, StringConstraints, ValidationError

from scaling.errors import Complaint, UserError
from scaling.recipe.quantities import Frozen

ID_PATTERN = r"^[0-9a-f]{12}$"
Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]


class Document(Frozen):
    """The content of one file."""

    schema_version: Literal[1] = Field(default=1, alias="schema")

    def to_json(self) -> dict[str, Any]:
        """Return plain values, under the keys that were given."""
        return {
            "schema": self.schema_version,
            **self.model_dump(mode="json", by_alias=True, exclude_unset=True),
        }


D = TypeVar("D", bound=Document)


def parse(model: type[D], content: bytes | dict[str, Any], where: str, hint: str) -> D:
    """Check plain values, or the bytes of a file.

    Args:
        model: what the content should be.
        content: JSON as bytes or decoded.
        where: the file, for messages.
        hint: what to do about a file that is wrong.

    Raises:
        UserError: it is something else; every field that is wrong is named.
    """
    try:
        return (
            model.model_validate_json(content)
            if isinstance(content, bytes)
            else model.model_validate(content)
        )
    except ValidationError as error:
        problems = [
            Complaint(f"{'.'.join(map(str, item['loc']))}: {item['msg']}".removeprefix(": "), where, hint)
            for item in error.errors(include_url=False, include_context=False, include_input=False)
        ]
        raise UserError(*problems) from None


def read(model: type[D], path: Path, hint: str = "delete it to make it again") -> D | None:
    """Read and check ``path``; return None when there is no such file.

    Raises:
        UserError: the file cannot be read or holds something else.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise UserError(Complaint(f"cannot be read: {error.strerror}", str(path))) from None
    return parse(model, content, str(path), hint)
