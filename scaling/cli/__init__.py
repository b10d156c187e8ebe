"""The command line. It is entered here, so that an interrupt during the other imports is no traceback."""

from __future__ import annotations

import sys


def main() -> None:
    try:
        from scaling.cli.main import main as run
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    run()
