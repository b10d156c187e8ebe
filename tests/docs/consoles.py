"""Console blocks of the documentation: run their commands, compare or rewrite what they print.

    python -m tests.docs.consoles              # run every block, show what differs
    python -m tests.docs.consoles --write      # put what is printed now into the pages

    python -m tests.docs.consoles --write docs/how-to/identify.md       # of some pages alone

A block marked ``console`` has commands after ``$ `` and their output below. Commands of a page run in one
folder, with ``runs.csv`` of the tutorials, ``results/reference``, ``experiments``, and every block of a page
whose first line is a comment with a file name, such as ``# my.yaml``.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.cli.call import call

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "README.md",
    "docs/tutorials/fit_your_runs.md",
    "docs/how-to/forecasts.md",
    "docs/how-to/best_size.md",
    "docs/how-to/identify.md",
    "docs/how-to/next.md",
    "docs/how-to/rounds.md",
    "docs/how-to/vary.md",
)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"^```\w+\n(# ([\w./]+\.\w+)\b.*?\n.*?)^```$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-?\d[\d,]*\.?\d*(?:e[+-]?\d+)?")
TOLERANCE = 0.03  # of a number: other versions of NumPy and jax move an interval by its Monte Carlo error


def prepare(page: str, folder: Path) -> None:
    shutil.copy(ROOT / "docs" / "tutorials" / "runs.csv", folder)
    (folder / "results").mkdir()
    (folder / "results" / "reference").symlink_to(ROOT / "results" / "reference")
    (folder / "experiments").symlink_to(ROOT / "experiments")
    for text, name in FILE.findall((ROOT / page).read_text("utf-8")):
        (folder / name).write_text(text, "utf-8")


def commands(block: str) -> list[str]:
    return [line[2:] for line in block.splitlines() if line.startswith("$ ")]


def run(command: str, folder: Path, *, quick: bool) -> str:
    """What ``command`` prints on standard output; ``quick`` measures no speed for a plan.

    Raises:
        RuntimeError: It exits with another code than 0.
    """
    if quick:
        command = command.replace("scaling plan ", "scaling plan --no-probe ")
    own, rest = re.fullmatch(r"scaling (.*?)( [|>].*)?", command).groups()
    columns, os.environ["COLUMNS"] = os.environ.get("COLUMNS"), "100"
    try:
        with contextlib.chdir(folder):
            done = call(*shlex.split(own))
    finally:
        del os.environ["COLUMNS"]
        os.environ |= {"COLUMNS": columns} if columns else {}
    if done.returncode:
        raise RuntimeError(f"{command}: exit code {done.returncode}\n{done.stderr}")
    if rest:  # what the shell makes of it
        done = subprocess.run(
            ["bash", "-c", f"cat {rest}"],
            input=done.stdout,
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return done.stdout.rstrip("\n") + "\n"


def printed(block: str, folder: Path, *, quick: bool, known: dict[str, str]) -> str:
    """The block as it would read now; ``known`` keeps what a command printed, for other pages."""
    for command in commands(block):
        if command not in known:
            known[command] = run(command, folder, quick=quick)
    return "".join(f"$ {command}\n{known[command]}" for command in commands(block))


def differences(shown: str, now: str) -> list[str]:
    """Lines that differ by more than the digits that may."""
    lines = [text.rstrip("\n").split("\n") for text in (shown, now)]
    if len(lines[0]) != len(lines[1]):
        return [f"{len(lines[0])} lines shown, {len(lines[1])} printed:\n{now}"]
    return [
        f"shown:   {line}\nprinted: {other}"
        for line, other in zip(*lines, strict=True)
        if not _alike(line, other)
    ]


def _alike(line: str, other: str) -> bool:
    if line.startswith("$ ") or re.match(r"\s*starts: ", line):  # how many agree is luck
        return line.split(":")[0] == other.split(":")[0]
    if re.match(r"about |time: ", line):  # measured on a machine, or not
        return bool(re.match(r"about |time: ", other))
    line, other = (text.partition("; this machine has")[0] for text in (line, other))
    if NUMBER.sub("#", " ".join(line.split())) != NUMBER.sub("#", " ".join(other.split())):
        return False
    numbers = [[float(number.replace(",", "")) for number in NUMBER.findall(text)] for text in (line, other)]
    return all(abs(a - b) <= TOLERANCE * max(abs(a), abs(b)) + 0.011 for a, b in zip(*numbers, strict=True))


def main() -> int:
    wrong, known = 0, dict[str, str]()
    for page in [name for name in sys.argv[1:] if name in PAGES] or PAGES:
        path = ROOT / page
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            prepare(page, folder)
            text = path.read_text("utf-8")
            for block in CONSOLE.findall(text):
                now = printed(block, folder, quick="--write" not in sys.argv, known=known)
                told = differences(block, now)
                wrong += len(told)
                print("\n".join([f"{page}: {line}" for line in told]), end="\n" if told else "")
                text = text.replace(block, now)
            if "--write" in sys.argv:
                path.write_text(text, "utf-8")
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
