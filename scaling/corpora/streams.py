"""Bytes of files, packed or not, and where the documents in them begin and end.

A part owns the documents that begin in it: of a file that is read in ranges every document is read once,
whole, by the part in which it begins. Memory is bounded by the largest document, itself at most
``LARGEST_DOCUMENT``, and buffers of 1 MB.
"""

from __future__ import annotations

import gzip
import io
import lzma
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from scaling.corpora.base import Part
from scaling.errors import Complaint, UserError

PACKED = (".gz", ".zst", ".xz")
LARGEST_DOCUMENT = 256 * 2**20

_CHUNK = 2**20
_PACKED_CHUNK = 8192  # of zstd: a few bytes may hold a block of 128 KB
Content = TypeVar("Content", bytes, bytearray)

_MARK = b"\xef\xbb\xbf"  # of byte order; some editors begin a file with it


@contextmanager
def opened(part: Part) -> Iterator[io.BufferedReader]:
    """Open the file of a part, unpacked by its suffix, after a mark of byte order.

    Raises:
        UserError: it cannot be read, is not what its suffix says, or was cut off; also while it is read.
    """
    suffix = part.file.suffix.lower()
    try:
        with open(part.file, "rb", buffering=_CHUNK) as file:
            yield _unpacked(file, suffix)
    except EOFError:
        raise UserError(Complaint("ends too early", part.name, f"copy the {suffix} file again")) from None
    except (zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise UserError(Complaint(f"is not a whole {suffix} file: {error}", part.name)) from None
    except OSError as error:
        raise UserError(Complaint(f"cannot be read: {error.strerror or error}", part.name)) from None


def _unpacked(file: BinaryIO, suffix: str) -> io.BufferedReader:
    match suffix:
        case ".gz":
            stream: Any = gzip.GzipFile(fileobj=file)
        case ".xz":
            stream = lzma.LZMAFile(file)  # noqa: SIM115
        case ".zst":
            stream = _Zstandard(file)
        case _:
            return cast(io.BufferedReader, file)
    return io.BufferedReader(stream, _CHUNK)


class _Zstandard(io.RawIOBase):
    """What the frames of a file hold. The library's own reader does not tell where a file was cut off."""

    def __init__(self, file: BinaryIO):
        import zstandard

        self._file, self._library = file, zstandard
        self._frame: Any = None
        self._rest, self._content = b"", memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._content:
            packed = self._rest or self._file.read(_PACKED_CHUNK)
            if not packed and self._frame is None:
                return 0
            if not packed:
                raise EOFError
            if self._frame is None:
                self._frame = self._library.ZstdDecompressor(max_window_size=2**31).decompressobj()
            try:
                self._content = memoryview(self._frame.decompress(packed))
            except self._library.ZstdError as error:
                raise OSError(f"it is not a whole .zst file: {error}") from None
            self._rest = self._frame.unused_data
            if self._frame.eof:
                self._frame = None
        size = min(len(buffer), len(self._content))
        buffer[:size], self._content = self._content[:size], self._content[size:]
        return size


def whole(part: Part) -> bytes:
    """Return all bytes of the file."""
    with opened(part) as stream:
        _skip_mark(stream)
        content = stream.read(LARGEST_DOCUMENT + 1)
    return _limited(content, part)


def lines(part: Part) -> Iterator[tuple[int, bytes]]:
    """Give the lines that begin in the part, with their ends, and the byte of the file where each begins."""
    return takewhile(lambda line: part.last is None or line[0] < part.last, _lines(part))


def _lines(part: Part) -> Iterator[tuple[int, bytes]]:
    """Give the lines from the first that begins in the part to the end of the file."""
    with opened(part) as stream:
        if part.first == 0:
            at = _skip_mark(stream)
        else:
            at = stream.seek(part.first - 1)
            rest = b" "
            while rest and not rest.endswith(b"\n"):
                rest = stream.readline(_CHUNK)
                at += len(rest)
        while line := stream.readline(LARGEST_DOCUMENT + 1):
            yield at, _limited(line, part)
            at += len(line)


def paragraphs(part: Part) -> Iterator[tuple[int, bytes]]:
    """Give the paragraphs, between lines without text; a part owns those after an empty line of its own."""
    begin, paragraph = 0, bytearray()
    has_break = part.first == 0
    for at, line in _lines(part):
        is_break, is_beyond = not line.strip(), part.last is not None and at >= part.last
        if is_beyond and (is_break or not has_break):
            break
        if is_break:
            has_break = True
            if paragraph:
                yield begin, bytes(paragraph.rstrip(b"\r\n"))
                paragraph.clear()
        elif has_break:
            begin = begin if paragraph else at
            paragraph += line
            _limited(paragraph, part)
    if paragraph:
        yield begin, bytes(paragraph.rstrip(b"\r\n"))


def pieces(part: Part, separator: bytes) -> Iterator[tuple[int, bytes]]:
    """Give what lies between separators. Overlapping ones, as in a row of newlines, count as one.

    So that any part finds the same documents: one begins where a separator ends and none goes on.
    """
    pattern, more = _run_of(separator), True
    with opened(part) as stream:
        start = max(0, part.first - len(separator))  # of the buffer, in bytes of the file
        start = stream.seek(start) if start else _skip_mark(stream)
        begin = start if part.first == 0 else None  # of the document; None before the first of the part
        buffer, looked = bytearray(), 0
        while True:
            found = pattern.search(buffer, looked)
            if more and (found is None or found.end() > len(buffer) - len(separator)):
                looked = found.start() if found else max(looked, len(buffer) - len(separator) + 1)
                kept = looked if begin is None else begin - start
                del buffer[:kept]
                start, looked = start + kept, looked - kept
                _limited(buffer, part)
                chunk = stream.read(_CHUNK)
                buffer += chunk
                more = bool(chunk)
                continue
            end = len(buffer) if found is None else found.start()
            if begin is not None and (begin < start + end or (begin > 0 and found)):
                yield begin, bytes(buffer[begin - start : end])
            if found is None or (part.last is not None and start + found.end() >= part.last):
                return
            begin, looked = start + found.end(), found.end()


def _run_of(separator: bytes) -> re.Pattern[bytes]:
    """Return a pattern of the separator and of further ones, each overlapping the one before."""
    shifts = [k for k in range(1, len(separator)) if separator[k:] == separator[:-k]]
    more = b"|".join(re.escape(separator[-k:]) for k in shifts)
    return re.compile(re.escape(separator) + (b"(?:%b)*+" % more if more else b""))


def _skip_mark(stream: io.BufferedReader) -> int:
    return len(stream.read(len(_MARK))) if stream.peek(len(_MARK)).startswith(_MARK) else 0


def _limited(content: Content, part: Part) -> Content:
    if len(content) > LARGEST_DOCUMENT:
        message = f"has a document of more than {LARGEST_DOCUMENT >> 20} MB"
        raise UserError(Complaint(message, part.name, "cut it into smaller documents"))
    return content


def place(part: Part, at: int, number: int) -> str:
    """Name a document: by its line (``pages.jsonl:17``), by its byte (``@67108870``) in later parts."""
    return f"{part.name}:{number}" if part.first == 0 else f"{part.name}@{at}"


def line_at(file: Path, at: int) -> int:
    """Return the number of the line that begins at a byte of the file, which is not packed."""
    count = 1
    with file.open("rb") as stream:
        while at > 0 and (chunk := stream.read(min(at, _CHUNK))):
            count, at = count + chunk.count(b"\n"), at - len(chunk)
    return count
