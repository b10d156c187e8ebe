"""Files of tokens, as other trainers prepare them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag

from scaling.corpora.base import Document, DocumentCorpus, Part
from scaling.corpora.files import PART_BYTES, InputFile, Patterns, matching
from scaling.errors import Complaint, UserError
from scaling.recipe.quantities import Count, Described, Positive, Slug, Whole
from scaling.tokenizers.base import TokenizerFacts, dtype_of

if TYPE_CHECKING:
    import numpy as np

# (magic, version) in a header of 256 int32, of which the third is the count of tokens -> type of the tokens
HEADERS = {(20240520, 1): "uint16", (20240801, 7): "uint32"}  # of llm.c and modded-nanogpt
HEADER_BYTES = 1024
LARGEST_DOCUMENT = 2**26  # tokens

_CHUNK = 2**18


class BySeparator(Described):
    """Documents lie between tokens that separate them."""

    separator: Annotated[Whole, Field(ge=0, lt=2**32)]
    """Id that begins every document (modded-nanogpt) or ends it (nanoGPT); it belongs to none."""


class ByLength(Described):
    """Documents are blocks of tokens: for files that do not say where their documents begin."""

    tokens: Count
    """Tokens of a block; the last one of a file may be shorter."""


def _form(value: Any) -> str:
    is_block = isinstance(value, ByLength) or (isinstance(value, dict) and "tokens" in value)
    return "tokens" if is_block else "separator"


class Tokens(DocumentCorpus):
    """Files of tokens: raw `.bin` (nanoGPT), `.bin` with a header (llm.c, modded-nanogpt) and `.npy`."""

    tokenised: ClassVar[bool] = True

    kind: Literal["tokens"] = "tokens"
    files: Patterns
    """Paths or patterns (`fineweb_train_*.bin`), relative to the spec."""
    tokenizer: Slug
    """Name of the tokenizer that made the tokens, for labels."""
    vocab_size: Annotated[Count, Field(le=2**32)]
    """Size of its vocabulary; every token is below it."""
    document: Annotated[
        Annotated[BySeparator, Tag("separator")] | Annotated[ByLength, Tag("tokens")], Discriminator(_form)
    ]
    """Where documents end: `{separator: 50256}`, or `{tokens: 65536}` where the files do not say."""
    dtype: Literal["uint16", "uint32"] | None = None
    """Type of the tokens in raw `.bin` files; a header and `.npy` say it themselves."""
    bytes_per_token: Positive | None = None
    """Bytes of text that a token stands for on average, if you know it: for losses in bits per byte."""

    def facts(self) -> TokenizerFacts:
        """Return what a store says of these tokens."""
        separator = self.document.separator if isinstance(self.document, BySeparator) else None
        return TokenizerFacts(
            name=self.tokenizer,
            vocab_size=self.vocab_size,
            separator=separator,
            dtype=dtype_of(self.vocab_size),
        )

    def known_width(self) -> float | None:
        return self.bytes_per_token

    def inputs(self, folder: Path) -> tuple[Part, ...]:
        return tuple(file.part() for file in matching(self.files, folder))

    def parts(self, folder: Path) -> tuple[Part, ...]:
        if isinstance(self.document, BySeparator) and self.document.separator >= self.vocab_size:
            message = f"separator = {self.document.separator} is not below vocab_size = {self.vocab_size}"
            raise UserError(Complaint(message, "document.separator", "give the id of a token"))
        return tuple(part for file in matching(self.files, folder) for part in self._parts(file))

    def _parts(self, file: InputFile) -> Iterator[Part]:
        array = _Array.of(file.part(), self.dtype)
        step = PART_BYTES // array.dtype.itemsize
        if isinstance(self.document, ByLength):
            step = max(1, step // self.document.tokens) * self.document.tokens
        for first in range(0, max(1, array.count), step):
            yield Part(file.path, file.name, first, min(first + step, array.count))

    def read(self, part: Part) -> Iterator[Document]:
        tokens = _Array.of(part, self.dtype).mapped(part.file)
        last = len(tokens) if part.last is None else part.last
        match self.document:
            case ByLength(tokens=size):
                ranges: Iterator[tuple[int, int]] = (
                    (begin, min(begin + size, len(tokens))) for begin in range(part.first, last, size)
                )
            case BySeparator(separator=separator):
                ranges = _between(tokens, separator, part, last)
        for begin, end in ranges:
            content = tokens[begin:end]
            self._check(content, part, begin)
            yield Document(f"{part.name}@{begin}", content.astype(self.facts().dtype))

    def _check(self, tokens: np.ndarray, part: Part, begin: int) -> None:
        import numpy as np

        if len(tokens) and (tokens.max() >= self.vocab_size or tokens.min() < 0):
            at = int(np.flatnonzero((tokens >= self.vocab_size) | (tokens < 0))[0])
            message = f"token {begin + at} is {int(tokens[at])}, not below vocab_size = {self.vocab_size}"
            hint = "check data.corpus.vocab_size, and dtype if the file is raw"
            raise UserError(Complaint(message, part.name, hint))


def _between(tokens: np.ndarray, separator: int, part: Part, last: int) -> Iterator[tuple[int, int]]:
    """Give begin and end of the documents that begin in the part: where a separator ends, or the file
    begins. What lies before the first separator of a file and after its last one is left out if empty."""
    import numpy as np

    begin = 0 if part.first == 0 else None
    for start in range(max(0, part.first - 1), len(tokens), _CHUNK):
        chunk = tokens[start : start + _CHUNK]
        for end in (start + np.flatnonzero(chunk == separator)).tolist():
            if begin is not None and end > 0:
                yield begin, end
            begin = end + 1
            if begin >= last:
                return
        beyond = start + len(chunk)
        if begin is None and beyond >= last:
            return
        if begin is not None and beyond - begin > LARGEST_DOCUMENT:
            message = f"has no separator {separator} in {LARGEST_DOCUMENT} tokens from {begin}"
            hint = "check data.corpus.document, or write document: {tokens: 65536}"
            raise UserError(Complaint(message, part.name, hint))
    if begin is not None and begin < len(tokens):
        yield begin, len(tokens)


@dataclass(frozen=True)
class _Array:
    """Where the tokens of a file lie in it: ``count`` of ``dtype``, from byte ``offset`` on."""

    dtype: np.dtype
    offset: int
    count: int

    @classmethod
    def of(cls, part: Part, dtype: str | None) -> _Array:
        """Recognise a file by its first bytes; ``dtype`` is of raw files.

        Raises:
            UserError: it cannot be read, or is not as long as it says, or of another type than it is said.
        """
        try:
            size = part.file.stat().st_size
            with part.file.open("rb") as file:
                start = file.read(HEADER_BYTES)
            if part.file.suffix.lower() in (".gz", ".zst", ".xz", ".npz"):
                raise _refusal("is packed", part, "unpack it first")
            if start.startswith(b"\x93NUMPY"):
                return _numpy_array(part, dtype)
            return _with_header(start, size, part, dtype) or _raw(start, size, part, dtype)
        except OSError as error:
            raise _refusal(f"cannot be read: {error.strerror or error}", part) from None

    def mapped(self, file: Path) -> np.ndarray:
        """Map the tokens into memory, shape (n,)."""
        import numpy as np

        if self.count == 0:
            return np.empty(0, self.dtype)
        return np.asarray(np.memmap(file, self.dtype, "r", self.offset, (self.count,)))


def _with_header(start: bytes, size: int, part: Part, dtype: str | None) -> _Array | None:
    """Read the header of llm.c and modded-nanogpt, None where there is none."""
    import numpy as np

    if len(start) < HEADER_BYTES:
        return None
    magic, version, count = np.frombuffer(start, "<i4", 3).tolist()
    if magic not in {magic for magic, _ in HEADERS}:
        return None
    if (magic, version) not in HEADERS:
        raise _refusal(f"has a header of version {version}, which is not known", part)
    array = _Array(np.dtype(HEADERS[magic, version]).newbyteorder("<"), HEADER_BYTES, count)
    there = (size - HEADER_BYTES) / array.dtype.itemsize
    if there != count:
        raise _refusal(f"has {there:.12g} tokens, its header says {count}", part, "copy it again")
    return _of_type(array, part, dtype)


def _raw(start: bytes, size: int, part: Part, dtype: str | None) -> _Array:
    import numpy as np

    if dtype is None:
        hint = "write uint16 (vocabularies to 65536) or uint32"
        raise UserError(Complaint(f"{part.name} does not say the type of its tokens", "dtype", hint))
    kind = np.dtype(dtype).newbyteorder("<")
    if size % kind.itemsize:
        raise _refusal(f"has {size} bytes, not a multiple of {kind.itemsize}", part, f"is it {dtype}?")
    if dtype == "uint16" and len(start) >= 256:
        halves = np.frombuffer(start[: len(start) // 4 * 4], "<u2")
        if not halves[1::2].any() and halves[::2].any():
            raise _refusal("looks like uint32: every second uint16 is 0", part, "set dtype: uint32")
    return _Array(kind, 0, size // kind.itemsize)


def _numpy_array(part: Part, dtype: str | None) -> _Array:
    import numpy as np

    try:
        array = np.load(part.file, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        raise _refusal(f"cannot be read as .npy: {error}", part) from None
    if array.ndim != 1:
        raise _refusal(f"has shape {array.shape}, not one axis", part, "save array.reshape(-1)")
    if array.dtype.kind not in "iu":
        raise _refusal(f"holds {array.dtype}, not whole numbers", part, "save tokens as uint16 or uint32")
    return _of_type(_Array(array.dtype, array.offset, len(array)), part, dtype)


def _of_type(array: _Array, part: Part, dtype: str | None) -> _Array:
    if dtype is not None and array.dtype != dtype:
        raise UserError(
            Complaint(f"{part.name} holds {array.dtype}, not {dtype}", "dtype", "leave dtype out")
        )
    return array


def _refusal(message: str, part: Part, hint: str = "") -> UserError:
    return UserError(Complaint(message, part.name, hint))
