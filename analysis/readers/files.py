"""Which files a user means: paths, patterns, folders of trackers and trainers."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis.errors import AnalysisError, Complaint, some
from analysis.readers.source import KINDS

STATE, CHECKPOINT = "trainer_state.json", "checkpoint-"


@dataclass(frozen=True)
class File:
    """A file, and the folder in which it was found."""

    path: Path
    folder: Path | None = None


def _below(pattern: str) -> Callable[[Path], list[Path]]:
    return lambda folder: sorted(path for path in folder.rglob(pattern) if path.is_file())


def _states(folder: Path) -> list[Path]:
    """The last state of each run: of its own folder, else of its last checkpoint."""
    last: dict[Path, Path] = {}
    for path in sorted(folder.rglob(STATE), key=_steps):
        in_checkpoint = path.parent.name.startswith(CHECKPOINT) and path.parent != folder
        last[path.parent.parent if in_checkpoint else path.parent] = path
    return sorted(last.values())


def _steps(state: Path) -> tuple[bool, int]:
    """A key by which the checkpoints of a run come in order, then the run's own folder."""
    steps = state.parent.name.removeprefix(CHECKPOINT)
    return (not steps.isdigit(), int(steps) if steps.isdigit() else 0)


# what a folder without runs.csv may hold, by what trackers and trainers call their files
FOLDERS: dict[str, Callable[[Path], list[Path]]] = {
    "runs of W&B": _below("*.wandb"),
    "event files of TensorBoard": _below("*tfevents*"),
    "states of Hugging Face Trainer": _states,
    "results of lm-evaluation-harness": _below("results_*.json"),
}


def files(given: str | Path | Sequence[str | Path]) -> list[File]:
    """Every file meant by paths, patterns (``runs/*.csv``, ``**`` for any depth) and folders, in their order.
    Raises AnalysisError."""
    sources = [given] if isinstance(given, str | Path) else list(given)
    if not sources:
        raise AnalysisError(Complaint("no table is given", hint=f"give a {KINDS} file"))
    found = [file for source in sources for file in _of(source)]
    paths = [file.path for file in found]
    if twice := {str(path) for path in paths if paths.count(path) > 1}:
        raise AnalysisError(
            Complaint("is given more than once", f"table {some(sorted(twice))}", "give it once")
        )
    return found


def _of(source: str | Path) -> Iterable[File]:
    path = Path(source)
    if path.is_dir():
        return _of_folder(path)
    if not path.exists() and glob.has_magic(str(source)):
        matches = sorted(p for p in map(Path, glob.glob(str(source), recursive=True)))
        if not matches:
            raise AnalysisError(Complaint("no file matches", f"table {source}", f"give a {KINDS} file"))
        return [
            file for match in matches for file in (_of_folder(match) if match.is_dir() else [File(match)])
        ]
    if not path.is_file():
        raise AnalysisError(
            Complaint(
                "no such file", f"table {source}", f"give a results folder with runs.csv, or a {KINDS} file"
            )
        )
    return [File(path)]


def _of_folder(folder: Path) -> list[File]:
    if (folder / "runs.csv").is_file():
        return [File(folder / "runs.csv")]
    kinds = {kind: paths for kind, search in FOLDERS.items() if (paths := search(folder))}
    if len(kinds) == 1:
        return [File(path, folder) for path in next(iter(kinds.values()))]
    where = f"table {folder}"
    if kinds:
        first = ", ".join(str(paths[0]) for paths in kinds.values())
        raise AnalysisError(
            Complaint(f"a folder with {' and '.join(kinds)}", where, f"give one of them: {first}")
        )
    hint = f"give a results folder with runs.csv, one of a tracker ({', '.join(FOLDERS)}), or a {KINDS} file"
    raise AnalysisError(Complaint("no such file: runs.csv", where, hint))
