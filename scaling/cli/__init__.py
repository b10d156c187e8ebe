"""The command line. It is entered here, so that an interrupt during the other imports is no traceback.

A module is named after its command: ``plan`` declares options and imports nothing slow, ``plan_request``
answers, ``plan_text`` is what is printed. Modules named after no command are shared.
"""

from __future__ import annotations

import sys


def main() -> None:
    try:
        from scaling.cli.main import main as run
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    run()
