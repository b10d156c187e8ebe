"""``manifest.json`` of a checkpoint: what its files are, by sums, and what of a state is in them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path

from pydantic import Field

from scaling.errors import UserError
from scaling.files import sync, write_json
from scaling.recipe.quantities import Frozen
from scaling.store.documents import Document, read
from scaling.store.folder import MANIFEST
from scaling.train.averages import Averages

LIBRARIES = ("jax", "jaxlib", "optax", "orbax-checkpoint")  # make the state and its files


class FileSum(Frozen):
    """What a file holds."""

    bytes: int
    sha256: str


class Manifest(Document):
    """Size and sha256 of every other file of a checkpoint, by its name; the decays of its exponential
    averages, and the snapshots in each of its merges; the libraries that wrote it and the kinds of
    devices that trained up to it (empty: an earlier version did)."""

    files: dict[str, FileSum]
    decays: tuple[float, ...] = ()
    merges: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    devices: tuple[str, ...] = ()

    @property
    def averages(self) -> Averages:
        return Averages(self.decays, self.merges)

    @property
    def other_versions(self) -> str | None:
        """Name the libraries that have another version now; None where there are none."""
        now = library_versions()
        others = [
            f"{name} {old} (now {now[name]})" for name, old in self.versions.items() if now[name] != old
        ]
        return ", ".join(others) or None


def library_versions() -> dict[str, str]:
    return {name: version(name) for name in LIBRARIES}


def seal(folder: Path, averages: Averages, devices: Collection[str]) -> None:
    """Wait until all files of a checkpoint are on the disk, and write its manifest, last.

    Args:
        folder: of the checkpoint.
        averages: that it has.
        devices: kinds of those that trained up to it.
    """
    for path in _files(folder):
        sync(path)
    asked = {"decays": averages.decays, "merges": averages.merges}
    given = {name: some for name, some in asked.items() if some}
    manifest = Manifest(
        files=_sums(folder), versions=library_versions(), devices=tuple(sorted(devices)), **given
    )
    write_json(folder / MANIFEST, manifest.to_json())


def manifest_of(folder: Path) -> Manifest | None:
    """Return the manifest of a checkpoint; None where there is none.

    Raises:
        UserError: it is damaged.
    """
    return read(Manifest, folder / MANIFEST)


def damage(folder: Path) -> str | None:
    """Say how the files of a checkpoint are not what was written; None where they are."""
    try:
        manifest, present = manifest_of(folder), _sums(folder)
    except (UserError, OSError) as error:
        return str(error)
    if manifest is None:
        return "it has no manifest"
    written = manifest.files
    for name in sorted(written.keys() | present.keys()):
        if written.get(name) != present.get(name):
            how = "is missing" if name not in present else "was changed" if name in written else "is foreign"
            return f"{name} {how}"
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)


def _sums(folder: Path) -> dict[str, FileSum]:
    sums = {}
    for path in _files(folder):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        sums[path.relative_to(folder).as_posix()] = FileSum(bytes=path.stat().st_size, sha256=digest)
    return sums
