"""The command within this process: a process of its own takes two seconds to import what a fit needs."""

from __future__ import annotations

import contextlib
import io
import sys
from types import SimpleNamespace

from scaling.cli.main import main


def call(*arguments: object) -> SimpleNamespace:
    """returncode, stdout and stderr of ``scaling ARGUMENTS``; an exception it does not catch is raised."""
    out, err, before = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["scaling", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
        code = 0
    except SystemExit as exit:
        code = exit.code or 0
    finally:
        sys.argv = before
    return SimpleNamespace(returncode=code, stdout=out.getvalue(), stderr=err.getvalue())
