"""Sizes that a command prints: asked once, by ``scaling plan`` and ``scaling run`` alone."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from scaling.canonical import short_hash
from scaling.files import cache_dir, write_json
from scaling.spec.explain import explain
from scaling.spec.external import ExternalFamily
from scaling.spec.models import Study
from scaling.spec.source import Finding, SpecError, dotted_path
from scaling.spec.source import Path as Place

SECONDS = 120.0
FORM = 'print [{"name": ..., "params": ..., "flops_per_token": ..., "config": {...}}, ...]'
PLACE: Place = ("family", "describe")


class _Refused(Exception):
    """The command gave no sizes; ``hint`` is what to do."""

    def __init__(self, message: str, hint: str):
        super().__init__(message)
        self.hint = hint


def described(study: Study, say: Callable[[str], None]) -> Study:
    """Return a study with the sizes of its family: asked of a command where the spec names one, or as it has
    answered the same question before.

    Args:
        study: a study whose sections are right.
        say: is told that the command is run.

    Raises:
        UserError: the command gives no sizes.
    """
    family = study.family
    if not isinstance(family, ExternalFamily) or family.describe is None:
        return study
    folder, question = study.commands_folder, _question(study)
    file = cache_dir() / "sizes" / f"{short_hash(_identity(family.describe, folder, question))}.json"
    try:
        answer = _read(file)
        if answer is None:
            say(f"asking for the sizes of the family: {shlex.join(family.describe)}")
            answer = _ask(family.describe, folder, question)
        sizes = _sizes(answer)
    except _Refused as error:
        raise SpecError(study.source, [Finding(PLACE, str(error), error.hint)]) from None
    with contextlib.suppress(OSError):  # it is asked again, which is only slow
        write_json(file, answer, durable=False)
    return study.model_copy(update={"family": sizes})


def _question(study: Study) -> dict[str, Any]:
    version = study.trainer.version if study.trainer else None
    return {"version": version, "data": study.data.model_dump(mode="json", exclude_none=True)}


def _identity(argv: tuple[str, ...], folder: Path, question: dict[str, Any]) -> dict[str, Any]:
    """Return all that an answer depends on, the content of files that the command names among it."""
    files = {name: _hash(folder / name) for name in argv if _is_file(folder / name)}
    return {"kind": "sizes", "argv": list(argv), "folder": str(folder), "files": files, **question}


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # an argument too long for a name
        return False


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None  # absent or damaged: ask


def _ask(argv: tuple[str, ...], folder: Path, question: dict[str, Any]) -> Any:
    """Run the command, and return what it prints.

    Raises:
        _Refused: it cannot be started, fails, takes too long or prints something else than JSON.
    """
    try:
        done = subprocess.run(
            argv,
            cwd=folder,
            input=json.dumps(question).encode(),
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        hint = "sizes should be arithmetic; or write them out as family.sizes"
        raise _Refused(f"took more than {SECONDS:.0f} s", hint) from None
    except OSError as error:
        hint = f"commands are started in {folder}"
        raise _Refused(f"cannot be started: {error.strerror}", hint) from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing on standard error"]
        raise _Refused(f"exited with code {done.returncode}: {lines[-1]}", "run it by hand to see why")
    try:
        return json.loads(done.stdout, parse_constant=_not_finite)
    except (ValueError, RecursionError) as error:
        raise _Refused(f"printed something that is not JSON: {error}", FORM) from None


def _not_finite(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _sizes(answer: Any) -> ExternalFamily:
    """Check an answer.

    Raises:
        _Refused: it is no list of sizes.
    """
    try:
        return ExternalFamily.model_validate({"kind": "external", "sizes": answer})
    except ValidationError as error:
        findings = explain(error, ExternalFamily, 3)
        listed = "; ".join(f"{dotted_path(finding.path)}: {finding.message}" for finding in findings)
        raise _Refused(f"printed no list of sizes: {listed}", FORM) from None
