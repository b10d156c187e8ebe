"""Specs with mistakes in them, for fuzzing: of the tree, of the text, and by ``--set``."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from scaling.spec.text import parse

LONGEST = 250_000  # bytes; files above 200,000 are refused unread
NUMBERS = """
0 1 2 3 7 8 64 -1 -0.0 0.5 1.5 +8 .5 5. 1e3 1e-5 1e-300 5e-324 1e-400 1e15 1e16 1e30 1e31 1e308 1e309 1e400
-1e400 .inf -.inf .nan 4294967295 4294967296 9007199254740993 18446744073709551616 0x10 0o17 1_000 2024-01-01
"""
WORDS = (
    "true false yes no null ~ 12:30:00 auto kind total % tokens ../../x é 模型 🦙 [] {} [[[]]] [null] [0,0]"
)
SCALARS = [
    *NUMBERS.split(), *WORDS.split(), "9" * 299, "9" * 301, "9" * 5000, "x" * 5000, "1" + "0" * 400,
    "''", "'8'", "'true'", "'a b'", "'\\\\'", '"\\u0000"', '"\\x07"', '"\\ud800"', "{a: {b: {c: []}}}",
    "[1, 2, 3]", "1e6 tokens", "80 steps", "20 %", "0 %", "100 %", "1e400 steps", "-5 steps",
    "{kind: power, of: tokens, coefficient: 1, exponent: -10}", "10 steps tokens", "12.34567891234567 tokens",
    "{kind: power}", "{kind: wsd}", "{kind: constant}", "{kind: cosine, warmup: 1 %}", "{kind: 3}",
    "{kind: list, runs: [{width: 16, steps: 90}]}",
]  # fmt: skip
AWKWARD = [
    *"{}[]:~\t%'#@\"&*|>,?-!`", "\x00", "\x07", "\x1b[31m", "\x85", "\u2028", "\ufeff", "\ufffe", "- ", "\\x",
    "&a ", "*a", "<<: *a", "<<: {a: 1}", "!!set ", "!!python/object:os.system ", "!!python/name:os.system",
    "!!python/object/apply:os.system [true]", "!include /etc/passwd", "%YAML 1.1\n---\n", "---\n", "...\n",
    "\r\n", "\r", "\n", "  ", "\n\n  - ", "[" * 50, "{a: " * 50, "'" * 30, "# ", ": ", "? ",
    "null: ", "1e999",
]  # fmt: skip
BYTES = [
    b"\xff",
    b"\xfe\xff",
    b"\xc3\x28",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\x80",
    b"\x00",
    b"\xef\xbb\xbf",
]
LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{c}: &{c} [{', '.join(['*' + chr(ord(c) - 1)] * 9)}]\n" for c in "bcdefghi"
)
Node = Any  # a list, a Mapping, or the text of a scalar


class Mapping(list[tuple[str, Any]]):
    """Names and values in order; a name may occur twice."""


@dataclass(frozen=True)
class Mutant:
    """A spec file and what ``--set`` makes of it. ``kind`` says what was done to it."""

    kind: str
    content: bytes
    overrides: tuple[str, ...] = ()


def mutants(texts: Sequence[str], largest: int = LONGEST) -> st.SearchStrategy[Mutant]:
    """Mutants of the specs ``texts``, cut off after ``largest`` bytes."""
    trees = [_node(parse(text, "base").value) for text in texts]
    kinds = [_structural(trees), _structural(trees), _textual(texts), _overridden(trees)]
    return (
        st.sampled_from(kinds)
        .flatmap(lambda kind: kind)
        .map(lambda m: replace(m, content=m.content[:largest]))
    )


def _node(value: Any) -> Node:
    match value:
        case dict():
            return Mapping((name, _node(item)) for name, item in value.items())
        case list():
            return [_node(item) for item in value]
        case bool():
            return str(value).lower()
        case _:
            return str(value)


def _write(node: Node) -> str:
    if isinstance(node, Mapping):
        return "{" + ", ".join(f"{name}: {_write(value)}" for name, value in node) + "}"
    return "[" + ", ".join(map(_write, node)) + "]" if isinstance(node, list) else node


def _document(tree: Node) -> str:
    """One line a section, long lists broken, so that lines say something."""
    if not isinstance(tree, Mapping):
        return _write(tree)
    sections = [(name, _write(value).replace("}, {", "},\n  {")) for name, value in tree]
    return "".join(f"{name}: {text}\n" for name, text in sections)


@st.composite
def _structural(draw: st.DrawFn, trees: Sequence[Node]) -> Mutant:
    tree = deepcopy(draw(st.sampled_from(trees)))
    for _ in range(draw(st.sampled_from([1, 1, 1, 1, 2, 3, 4]))):
        tree = _mutate(draw, tree, trees)
    return Mutant("structure", _document(tree).encode("utf-8", "surrogatepass")[:LONGEST])


@st.composite
def _overridden(draw: st.DrawFn, trees: Sequence[Node]) -> Mutant:
    tree = deepcopy(draw(st.sampled_from(trees)))
    texts = list[str]()
    for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
        path, value = draw(st.sampled_from(list(_paths(tree))))
        name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
        name = draw(st.sampled_from([name] * 12 + [name + ".x", name + "[0]", name + "[999999]", name[:-1]]))
        wrong = _write(_changed(draw, value, trees))
        texts.append(draw(st.sampled_from([f"{name}={wrong}"] * 15 + [f"{name}{wrong}", f"{name}=", wrong])))
    return Mutant(
        "override", _document(tree).encode(), tuple(text.replace("\0", "")[:20_000] for text in texts)
    )


@st.composite
def _textual(draw: st.DrawFn, texts: Sequence[str]) -> Mutant:
    content = draw(st.sampled_from(texts)).encode()
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 3, 5]))):
        content = draw(st.sampled_from(TEXTUAL))(draw, content)[:LONGEST]
    return Mutant("text", content)


def _paths(node: Node, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Node]]:
    found = [(path, node)] if path else []
    items = node if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for name, value in list(items)[:20]:
        found += _paths(value, (*path, name))
    return found


def _mutate(draw: st.DrawFn, tree: Node, trees: Sequence[Node]) -> Node:
    """Change the tree at one place: a node, or how it is called."""
    holders = [tree, *(node for _, node in _paths(tree))]
    holder = draw(st.sampled_from([node for node in holders if isinstance(node, list) and node] or [tree]))
    if not isinstance(holder, list) or draw(st.integers(0, 40)) == 0:
        return _changed(draw, tree, trees)
    at = draw(st.integers(0, min(len(holder), 20) - 1))
    if not isinstance(holder, Mapping):
        holder[at] = _changed(draw, holder[at], trees)
        return tree
    name, value = holder[at]
    match draw(st.sampled_from(["value", "value", "value", "name", "drop", "twice", "add"])):
        case "value":
            holder[at] = (name, _changed(draw, value, trees))
        case "name":
            holder[at] = (_misspelt(draw, name, trees), value)
        case "drop":
            del holder[at]
        case "twice":
            holder.insert(draw(st.integers(0, len(holder))), (name, value))
        case _:
            holder.append((_misspelt(draw, name, trees), _part(draw, trees)))
    return tree


def _changed(draw: st.DrawFn, node: Node, trees: Sequence[Node]) -> Node:
    match draw(st.sampled_from(["scalar", "scalar", *["scale"] * 4, "part", "wrap", "long", "random"])):
        case "scalar":
            return draw(st.sampled_from(SCALARS))
        case "scale":
            return _scaled(draw, node)
        case "part":
            return _part(draw, trees)
        case "wrap":
            deep = draw(st.sampled_from([1, 2, 39, 100]))
            text = _write(node)
            return "[" * deep + text + "]" * deep if draw(st.booleans()) else Mapping([("kind", node)])
        case "long":
            many = draw(st.sampled_from([2, 30, 1000, 1001, 20_000]))
            return [str(8 * i) for i in range(1, many + 1)] if draw(st.booleans()) else [node] * many
        case _:
            return repr(draw(st.text(max_size=8) | st.floats() | st.integers()))


def _scaled(draw: st.DrawFn, node: Node) -> Node:
    """All numbers times one factor: what is near a good spec goes deeper than what is absurd."""
    factor = draw(st.sampled_from([1, 2, 2, 2, 3, 3, 4, 8, 0.5, 0.5, 0.1, 0, -1, 1e-9, 1e3, 1e6, 1e12, 1e20]))
    return _times(node, factor, draw(st.booleans()))


def _times(node: Node, factor: float, whole: bool) -> Node:
    if isinstance(node, Mapping):
        return Mapping((name, _times(value, factor, whole)) for name, value in node)
    if isinstance(node, list):
        return [_times(item, factor, whole) for item in node]
    try:
        number = float(node) * factor
    except ValueError:
        return node
    return str(int(number)) if whole and number.is_integer() else repr(number)


def _part(draw: st.DrawFn, trees: Sequence[Node]) -> Node:
    """Something from anywhere in the specs."""
    _, node = draw(st.sampled_from(_paths(draw(st.sampled_from(trees)))))
    return deepcopy(node)


def _misspelt(draw: st.DrawFn, name: str, trees: Sequence[Node]) -> str:
    known = sorted({str(path[-1]) for tree in trees for path, _ in _paths(tree)})
    at = draw(st.integers(0, max(0, len(name) - 1)))
    wrong = [name[:at] + name[at + 1 :], name[: at + 1] + name[at:], name.upper(), name.replace("_", "-")]
    odd = [
        "''",
        "'a.b[0]'",
        "'" + "k" * 3000 + "'",
        "1",
        "true",
        "null",
        "'é'",
        "[1]",
        "<<",
        "__class__",
        "'\\n'",
    ]
    return draw(st.sampled_from(wrong) | st.sampled_from(known) | st.sampled_from(odd)) or "''"


def _insert(draw: st.DrawFn, content: bytes, piece: bytes) -> bytes:
    at = draw(st.integers(0, len(content)))
    end = min(len(content), at + draw(st.sampled_from([0, 0, 1, 5, 40])))
    return content[:at] + piece + content[end:]


def _awkward(draw: st.DrawFn, content: bytes) -> bytes:
    return _insert(draw, content, draw(st.sampled_from(AWKWARD)).encode("utf-8", "surrogatepass"))


def _bytes(draw: st.DrawFn, content: bytes) -> bytes:
    return _insert(draw, content, draw(st.sampled_from(BYTES) | st.binary(max_size=4)))


def _swap(draw: st.DrawFn, content: bytes) -> bytes:
    if len(content) < 2:
        return content
    a, b = sorted(draw(st.integers(0, len(content) - 1)) for _ in "ab")
    swapped = bytearray(content)
    swapped[a], swapped[b] = swapped[b], swapped[a]
    return bytes(swapped)


def _truncate(draw: st.DrawFn, content: bytes) -> bytes:
    return content[: draw(st.integers(0, len(content)))]


def _lines(draw: st.DrawFn, content: bytes) -> bytes:
    """A line removed, doubled, moved to the end or indented otherwise."""
    lines = content.splitlines(keepends=True) or [b""]
    at = draw(st.integers(0, len(lines) - 1))
    line = lines[at]
    lines[at : at + 1] = draw(
        st.sampled_from([[], [line, line], [b" " + line], [b"\t" + line], [line.lstrip()]])
    )
    return b"".join(lines) + draw(st.sampled_from([b"", line]))


def _whole(draw: st.DrawFn, content: bytes) -> bytes:
    """The same in another dress, or much of something."""
    text = content.decode("utf-8", "replace")
    letter = draw(st.sampled_from(string.ascii_letters))
    return draw(
        st.sampled_from(
            [
                content.replace(b"\n", b"\r\n"),
                content.replace(b"\n", b"\r"),
                b"\xef\xbb\xbf" + content,
                text.encode("utf-16"),
                text.encode("utf-32"),
                content + content,
                content + LAUGHS.encode(),
                content + b"seeds: " + b"[" * 100_000,
                content + "".join(" " * i + "a:\n" for i in range(300)).encode(),
                content + b"holdout: [" + b"{width: 80, flops: 1e9}," * 8_000 + b"]",
                content + b"holdout: [" + b"{widht: 80, flosp: 1e9, zap: 1}," * 6_000 + b"]",
                content + f"{letter}: ".encode() + b"x" * 190_000,
                content + b"".join(b"k%d: 1\n" % i for i in range(15_000)),
                content + b"seeds: [" + b"0," * 95_000 + b"]",
            ]
        )
    )


TEXTUAL: list[Callable[[st.DrawFn, bytes], bytes]] = [
    *(_awkward, _awkward, _awkward, _bytes, _swap, _swap, _truncate, _lines, _lines, _whole)
]
