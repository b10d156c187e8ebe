"""Write constraints.txt: every version that `.[dev]` needs, one line each, for all given interpreters.

    python .ci/lock.py python3.11 python3.12        (or: make lock)

pip resolves in a fresh environment per interpreter, without installing. Versions that differ between
interpreters get an environment marker; the newest given interpreter also stands for later ones.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HEADER = """\
# Versions this repository is tested with, for Python 3.11 and 3.12. Regenerate with `make lock`.
"""


def resolve(python: str) -> tuple[str, dict[str, str]]:
    """(minor version such as "3.11", package -> version) of `.[dev]` under the interpreter ``python``."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([python, "-m", "venv", folder], check=True)
        pip = [f"{folder}/bin/python", "-m", "pip", "--disable-pip-version-check", "install", "-qq"]
        out = Path(folder) / "report.json"
        subprocess.run([*pip, "--dry-run", "--report", str(out), f"{ROOT}[dev]"], check=True)
        report = json.loads(out.read_text())
    found = {
        item["metadata"]["name"].lower().replace("_", "-"): item["metadata"] for item in report["install"]
    }
    found.pop("scaling-laws")
    minor = ".".join(report["environment"]["python_full_version"].split(".")[:2])
    return minor, {name: metadata["version"] for name, metadata in found.items()}


def merge(locks: dict[str, dict[str, str]]) -> list[str]:
    """Requirement lines; a marker only where the interpreters disagree."""
    minors = sorted(locks, key=lambda minor: tuple(map(int, minor.split("."))))
    lines = []
    for name in sorted(set().union(*locks.values())):
        versions = {minor: locks[minor][name] for minor in minors if name in locks[minor]}
        if len(versions) == len(minors) and len(set(versions.values())) == 1:
            lines.append(f"{name}=={versions[minors[0]]}")
            continue
        for minor, version in versions.items():
            operator = ">=" if minor == minors[-1] else "=="
            lines.append(f'{name}=={version} ; python_version {operator} "{minor}"')
    return lines


if __name__ == "__main__":
    lines = merge(dict(resolve(python) for python in sys.argv[1:]))
    (ROOT / "constraints.txt").write_text(HEADER + "\n".join(lines) + "\n")
