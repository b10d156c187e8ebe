"""Read English out of the packages that :mod:`english` is made of: names of documents, and their paragraphs.

Every reader takes the folder where a package was unpacked. What is no running text is left out: markup,
code, pronunciations, etymologies, lists of references.
"""

from __future__ import annotations

import gzip
import json
import re
import struct
import unicodedata
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

Texts = Iterator[tuple[str, list[str]]]  # (name of a document, paragraphs)
SKIPPED = {"head", "script", "style", "nav", "pre", "table", "svg", "footer"}
INLINE = {
    *(
        "a",
        "abbr",
        "acronym",
        "b",
        "big",
        "cite",
        "code",
        "em",
        "font",
        "i",
        "kbd",
        "q",
        "s",
        "samp",
        "small",
    ),
    *("span", "strong", "sub", "sup", "tt", "u", "var", "img", "wbr"),
}
ACCENTS = dict(zip("'`^\"~=,", "\u0301\u0300\u0302\u0308\u0303\u0304\u0327", strict=True))
LIGATURES = {
    "ae": "æ",
    "AE": "Æ",
    "oe": "œ",
    "OE": "Œ",
    "aum": "ä",
    "oum": "ö",
    "uum": "ü",
    "eum": "ë",
    "ium": "ï",
}
TAGS = re.compile(
    r"\s*\[(?:1913 Webster|Webster 1913[^\]]*|WordNet [\d.]+|PJC|RDH|RHUD|AS|RP|[A-Z]\d+)[^\]]{0,30}\]"
)


class _Paragraphs(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []
        self.text: list[str] = []
        self.skipping = 0

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag in SKIPPED:
            self.skipping += 1
        if tag not in INLINE:
            self.close_paragraph()

    def handle_endtag(self, tag: str) -> None:
        if tag in SKIPPED:
            self.skipping = max(0, self.skipping - 1)
        if tag not in INLINE:
            self.close_paragraph()

    def handle_data(self, data: str) -> None:
        if not self.skipping:
            self.text.append(data)

    def close_paragraph(self) -> None:
        self.done.append("".join(self.text))
        self.text = []


def html(text: str) -> list[str]:
    """Return the paragraphs of a page, without code, tables and navigation."""
    parser = _Paragraphs()
    parser.feed(text)
    parser.close()
    parser.close_paragraph()
    return parser.done


def html_pages(folder: Path, pages: str) -> Texts:
    for file in sorted(folder.glob(pages)):
        yield file.stem, html(file.read_text("utf-8", errors="replace"))


def blocks(text: str) -> list[str]:
    """Return what blank lines divide."""
    return re.split(r"\n\s*\n", text)


def dictionary(folder: Path, name: str) -> Iterator[str]:
    """Read the entries of a dictionary in dictd's format, in alphabetical order."""
    text = gzip.decompress((folder / f"usr/share/dictd/{name}.dict.dz").read_bytes())
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    value = {letter: i for i, letter in enumerate(alphabet)}
    spans = set()
    for line in (folder / f"usr/share/dictd/{name}.index").read_text("utf-8").splitlines():
        word, *numbers = line.split("\t")
        if not word.startswith("00-database"):
            first, size = (sum(value[c] << 6 * i for i, c in enumerate(reversed(n))) for n in numbers)
            spans.add((first, first + size))
    for first, last in sorted(spans):
        yield text[first:last].decode("utf-8", errors="replace")


def gcide(folder: Path) -> Texts:
    """Webster's dictionary of 1913, and later additions."""
    for entry in dictionary(folder, "gcide"):
        heading, *others = blocks(_plain_letters(TAGS.sub("", entry)).strip())
        word, _, heading = heading.partition("\\")
        heading = re.sub(r"[^\\]*\\", "", heading.rpartition("\\")[2]) if "\\" in heading else heading
        heading = _without_brackets(heading)
        heading = re.sub(r"^\s*\([^()]*\)", "", heading)  # how it is pronounced
        senses = "  ".join([f"{word.strip()}, {heading.strip().lstrip(' ,.')}", *others])
        yield word.strip(), [re.sub(r"[{}]", "", senses)]


def _plain_letters(text: str) -> str:
    """``b[^e]te`` -> ``bête``; other codes of letters lose their brackets, and signs that have no letter."""
    text = re.sub(r"\[(\w{2,3})\]", lambda m: LIGATURES.get(m[1], m[0]), text)
    accented = re.sub(r"\[(['`^\"~=,])([A-Za-z])\]", lambda m: m[2] + ACCENTS[m[1]], text)
    plain = re.sub(r"\[[^\w\s\[\]]{1,2}(\w{1,2})\]|\[(\w{1,2})[\^*]\]", r"\1\2", accented)
    return unicodedata.normalize("NFC", plain)


def _without_brackets(text: str) -> str:
    while (shorter := re.sub(r"\[[^\[\]]*\]", "", text)) != text:
        text = shorter
    return text


def foldoc(folder: Path) -> Texts:
    """The Free On-line Dictionary of Computing."""
    for entry in dictionary(folder, "foldoc"):
        word, *paragraphs = blocks(entry.strip())
        kept = []
        for paragraph in paragraphs:
            text = re.sub(r"\{\(?\w+:[^{}]*\}|\(\w+:/[^()]*\)|\w+://\S+", "", paragraph)  # addresses
            text = re.sub(
                r"(?<!\S)/[^/\s]+/ ?|<[\w\s,/-]+>|[{}]", "", text
            ).strip()  # how it is spoken; the field
            if not re.fullmatch(r"[(\[][^()]*[)\]]", text):  # a date, a source
                kept.append(text)
        yield word, [f"{', '.join(word.split(chr(10)))}: {kept[0].lstrip()}", *kept[1:]] if kept else []


def wordnet(folder: Path) -> Texts:
    """The definitions and examples of WordNet, in the order of meanings."""
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"usr/share/wordnet/data.{part}").read_text("utf-8").splitlines():
            if line.startswith(" "):  # the licence
                continue
            fields, _, meaning = line.partition(" | ")
            numbers = fields.split()
            words = numbers[4 : 4 + 2 * int(numbers[3], 16) : 2]
            names = [re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in words]
            yield names[0], [f"{', '.join(names)}: {meaning.strip()}"]


def anarchism(folder: Path) -> Texts:
    return html_pages(folder, "usr/share/doc/anarchism/html/*.html")


def handbook(folder: Path) -> Texts:
    return html_pages(folder, "usr/share/doc/debian-handbook/html/en-US/*.html")


def austen(folder: Path) -> Texts:
    """Jane Austen's six novels, out of the data base of an R package: character vectors, compressed."""
    packed = (folder / "usr/lib/R/site-library/janeaustenr/data/Rdata.rdb").read_bytes()
    while packed:
        reader = zlib.decompressobj()
        data = reader.decompress(packed[4:])  # after its length
        packed = reader.unused_data
        lines, at = [], data.index(b"UTF-8") + 5 + 8  # a vector's flags and length
        while at < len(data):
            (size,) = struct.unpack(">i", data[at + 4 : at + 8])
            lines.append(data[at + 8 : at + 8 + max(0, size)].decode("utf-8", errors="replace"))
            at += 8 + max(0, size)
        title, *text = blocks("\n".join(lines).strip())
        yield title, [paragraph.replace("_", "").replace("--", " -- ") for paragraph in text]


def _fields(node: Any, name: str) -> Iterator[str]:
    """All texts of a field, anywhere below a JSON value."""
    if isinstance(node, list):
        for value in node:
            yield from _fields(value, name)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key == name and isinstance(value, str):
                yield value
            else:
                yield from _fields(value, name)


def botocore(folder: Path) -> Texts:
    """What the newest interface of every service of AWS says of its operations and fields."""
    for service in sorted((folder / "botocore/data").iterdir()):
        if versions := sorted(service.glob("*/service-2.json.gz")):
            model = json.loads(gzip.decompress(versions[-1].read_bytes()))
            yield service.name, [p for text in _fields(model, "documentation") for p in html(text)]


def google(folder: Path) -> Texts:
    """What Google's interfaces say of their methods and fields, in Markdown."""
    for file in sorted((folder / "googleapiclient/discovery_cache/documents").glob("*.json")):
        texts = _fields(json.loads(file.read_bytes()), "description")
        yield file.stem, [p for text in texts for p in markdown(text)]


def markdown(text: str) -> list[str]:
    """Return paragraphs and items without the signs of Markdown, and without code."""
    text = re.sub(r"```.*?(```|\Z)", "\n\n", text, flags=re.DOTALL)
    text = re.sub(r"!?\[([^\[\]]*)\]\s?[(\[][^()\[\]]*[)\]]", r"\1", text)
    text = re.sub(r"</?\w+[^<>]*>|[`]|\*\*|(?<=[\s(])__?(?=\w)|(?<=\w)__?(?=[\s.,)])", "", text)
    text = re.sub(r"^\s*(?:[*+-]|\d+[.)]|#+|>)\s+", "\n\n", text, flags=re.MULTILINE)
    return blocks(text)
