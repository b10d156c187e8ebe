"""Make state-of-the-union.jsonl.xz from the unpacked npm package; see README.md beside this file.

python build_state_of_the_union.py <package folder> state-of-the-union.jsonl.xz
"""

from __future__ import annotations

import hashlib
import json
import lzma
import sys
from pathlib import Path


def main(package: Path, archive: Path) -> None:
    lines, texts = [], []
    for path in sorted((package / "data").glob("*.txt")):
        facts = json.loads(path.with_suffix(".json").read_text("utf-8"))
        text = path.read_bytes().decode("utf-8")
        texts.append(text.encode("utf-8"))
        record = {
            "name": path.stem,
            "year": int(facts["year"]),
            "president": facts["name"],
            "party": facts["party"],
            "text": text,
        }
        lines.append(json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n")
    data = "".join(lines).encode("utf-8")
    archive.write_bytes(lzma.compress(data, format=lzma.FORMAT_XZ, preset=9 | lzma.PRESET_EXTREME))
    print("documents     ", len(texts))
    print("bytes of text ", sum(map(len, texts)))
    print("archive bytes ", archive.stat().st_size)
    print("archive sha256", hashlib.sha256(archive.read_bytes()).hexdigest())
    print("text sha256   ", hashlib.sha256(b"".join(texts)).hexdigest())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
