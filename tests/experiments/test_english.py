"""The larger corpus: how its text is read out of packages, without any package."""

from __future__ import annotations

import gzip
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "experiments" / "corpora"


@pytest.fixture
def extract(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))
    return import_module("extract")


@pytest.fixture
def english(extract: ModuleType) -> ModuleType:
    return import_module("english")


def dictd(folder: Path, name: str, entries: list[str]) -> Path:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

    def number(value: int) -> str:
        return (number(value // 64) if value >= 64 else "") + alphabet[value % 64]

    files = folder / "usr/share/dictd"
    files.mkdir(parents=True)
    lines, text = [f"00-database-info\t{number(0)}\t{number(5)}\n"], b"info\n"
    for entry in entries:
        lines.append(f"{entry.split()[0]}\t{number(len(text))}\t{number(len(entry.encode()))}\n")
        text += entry.encode()
    (files / f"{name}.dict.dz").write_bytes(gzip.compress(text))
    (files / f"{name}.index").write_text("".join([*lines, lines[-1]]))
    return folder


def test_a_page_gives_paragraphs_without_code_and_markup(extract: ModuleType) -> None:
    page = "<head><title>T</title></head><p>One <b>bold</b> &amp; two<p>Three<pre>x = 1</pre><li>four</li>"
    assert [text for text in extract.html(page) if text.strip()] == ["One bold & two", "Three", "four"]


def test_markdown_gives_paragraphs_without_signs(extract: ModuleType) -> None:
    text = (
        "See [the guide](https://a.b/c) of `max_size`.\n\n* one __item__ **bold**\n* two\n```\nx\n```\n# End"
    )
    assert [" ".join(x.split()) for x in extract.markdown(text) if x.strip()] == [
        "See the guide of max_size.",
        "one item bold",
        "two",
        "End",
    ]


def test_entries_of_gcide_lose_sound_origin_and_codes(extract: ModuleType, tmp_path: Path) -> None:
    bathos = (
        'Bathos \\Ba"thos\\ (b[=a]"th[o^]s), n. [Gr. ba`qos depth, fr.\n   baqy`s {deep}.] (Rhet.)\n'
        "   A descent. [R.]\n   [1913 Webster]\n\n   2. A b[^e]te, or {Laridae} [Obs.]\n"
        "   [WordNet 1.5 +PJC]\n\n"
    )
    folder = dictd(tmp_path, "gcide", ["Plain \\Plain\\ n.\n   See {Bathos}.\n\n", bathos])
    (plain, _), (word, [text]) = extract.gcide(folder)
    assert (plain, word) == ("Plain", "Bathos")
    assert " ".join(text.split()) == "Bathos, n. (Rhet.) A descent. 2. A bête, or Laridae [Obs.]"


def test_entries_of_foldoc_lose_addresses_dates_and_fields(extract: ModuleType, tmp_path: Path) -> None:
    entry = (
        "NSS\nnet system\n\n   <net> /N-S-S/ A {system} of i/o.\n   {Home (http://a.b/)}.\n\n   (1999-01)\n"
    )
    ((_, paragraphs),) = extract.foldoc(dictd(tmp_path, "foldoc", [entry]))
    assert [" ".join(p.split()) for p in paragraphs] == ["NSS, net system: A system of i/o. Home ."]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Four words are enough.", True),
        ("Three words, no.", False),
        ("“Yes, quite -- more so, indeed!” (He bowed.)", True),
        ("alpha = beta | gamma & delta < epsilon > zeta $ eta % theta # iota", False),
        ("The range is 10.0.0.0/8, 172.16.0.0/12", False),
        (
            "See the page https://a.example/a-long-path/that-goes-on/and-on/and-on/and-on/to-the-very-end",
            False,
        ),
    ],
)
def test_readable(english: ModuleType, text: str, kept: bool) -> None:
    assert english.readable(text) is kept


def test_repeated_paragraphs_go(english: ModuleType) -> None:
    words = [f"word{'abcdefghij'[i % 10]}{'klmnopqrst'[i // 10]}" for i in range(100)]
    long, other = " ".join(words[:40]), " ".join(words[40:80])
    texts = [
        long,
        "A short line, twice.",
        other,
        long.upper() + ".",
        "a short line twice",
        " ".join(words[20:60]),  # shares 8 + 8 of 28 13-grams
        " ".join([*words[5:40], "a", "new", "end"]),  # 23 of 26
        "Another short line here.",
    ]
    assert english.distinct(texts).tolist() == [True, True, True, False, False, False, False, True]
    assert english.distinct([*texts[:1], " ".join(words[20:50])]).tolist() == [True, True]


def test_pages_are_whole_paragraphs_of_one_source(english: ModuleType) -> None:
    make = english.Paragraph
    text = "x" * 3000
    given = [make("a", "one", text), make("a", "one", text), make("a", "two", text), make("b", "three", text)]
    named = [(d["source"], d["name"], d["text"].count(text)) for d in english.pages(given)]
    assert named == [("a", "one", 2), ("a", "two", 1), ("b", "three", 1)]


def test_what_differs_from_the_record_is_said(english: ModuleType) -> None:
    documents = [{"text": "One.", "name": "n", "source": "p"}, {"text": "Two.", "name": "n", "source": "q"}]
    recorded = english.facts(documents, {"p": "1", "q": "1"})
    assert (recorded["documents"], recorded["bytes"]) == (2, 8)
    assert english.differences(recorded, recorded) == []
    documents[0] = {**documents[0], "text": "Ones."}
    built = english.facts(documents, {"p": "1", "q": "2"})
    assert english.differences(built, recorded) == [
        "p 1: another text (5 bytes, recorded 4)",
        "q: version 2, recorded 1",
    ]
