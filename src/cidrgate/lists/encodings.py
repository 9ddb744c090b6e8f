"""From the bytes of a file to its lines: the encoding is found before the first line is read.

A byte order mark decides. Without one, text is UTF-8; UTF-16 is known by its null bytes. A file with bytes that are not
UTF-8 is read as Windows-1252, which spreadsheets still write, but only if nothing in it is UTF-8: otherwise names that
are UTF-8 would become other names. What cannot be decoded is a lone surrogate (`errors="surrogateescape"`).
"""

from __future__ import annotations

import codecs
import io
import tempfile
from contextlib import suppress
from typing import IO, TYPE_CHECKING, NamedTuple

from cidrgate.lists.rows import ListFileError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LONGEST_LINE", "Text", "read_text_file"]

LONGEST_LINE = 8 * 2**20
"""The longest line of a table or a plain list in bytes. No row of a list needs more, and a line is held in memory."""

_CHUNK = 2**20
_KEPT_IN_MEMORY = 16 * 2**20
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Text(NamedTuple):
    """The text of a file.

    Attributes:
        stream: The text, with its line ends as they are.
        notes: What the reader should know about the encoding.
        longest_line: The length of the longest line, in bytes.
    """

    stream: io.TextIOWrapper
    notes: tuple[str, ...]
    longest_line: int

    def lines(self) -> Iterator[str]:
        """Return the lines with their ends, whichever kind they are.

        Raises:
            ListFileError: If a line is longer than `LONGEST_LINE`.
        """
        if self.longest_line > LONGEST_LINE:
            raise ListFileError(
                f"a line has {self.longest_line:,} bytes, and a row needs much less: is this a list, and is its format "
                "that of --format?"
            )
        return iter(self.stream)


def read_text_file(stream: IO[bytes]) -> Text:
    r"""Return the text of a file.

    Args:
        stream: The bytes. A stream that cannot go back, such as a pipe, is copied to a temporary file first.

    Raises:
        ListFileError: If the file is UTF-16 or UTF-32 and is damaged.

    Example:
        >>> text = read_text_file(io.BytesIO("account;cidr\n".encode("utf-16")))
        >>> list(text.lines())
        ['account;cidr\n']
        >>> read_text_file(io.BytesIO(b"caf\xe9")).notes
        ('the file is not UTF-8 and was read as Windows-1252: check names and labels with accents',)
    """
    if not stream.seekable():
        copy: IO[bytes] = tempfile.SpooledTemporaryFile(_KEPT_IN_MEMORY)  # noqa: SIM115 - the text reads it
        while chunk := stream.read(_CHUNK):
            copy.write(chunk)
        copy.seek(0)
        stream = copy
    encoding, notes, longest = _encoding(stream)
    stream.seek(0)
    errors = "surrogateescape" if encoding.startswith("utf-8") else "strict"
    return Text(_Decoded(stream, encoding=encoding, errors=errors, newline=""), notes, longest)


class _Decoded(io.TextIOWrapper):
    """Text that leaves its bytes open when it is no longer used; they belong to somebody else."""

    def __del__(self) -> None:
        """Detach the bytes instead of closing them."""
        with suppress(ValueError):
            self.detach()


def _encoding(stream: IO[bytes]) -> tuple[str, tuple[str, ...], int]:
    """Return the encoding of a file, notes about it, and the length of its longest line in bytes."""
    beginning = stream.read(4096)
    marked = [encoding for mark, encoding in _MARKS if beginning.startswith(mark)]
    encoding = marked[0] if marked else _without_mark(beginning)
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    longest = length = 0
    valid, beyond_ascii, latin = True, False, True
    chunk = beginning
    while True:
        length, longest = _measured(chunk, length, longest)
        if valid:
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError:
                if not encoding.startswith("utf-8"):
                    name = encoding.partition("-")[0].upper() + "-" + encoding.split("-")[1]
                    raise ListFileError(f"the file is damaged {name} text: save it as UTF-8") from None
                valid = False
        if not chunk.isascii():
            beyond_ascii = beyond_ascii or _has_utf8(chunk)
            latin = latin and not any(byte in chunk for byte in b"\x81\x8d\x8f\x90\x9d")
        if not chunk:
            break
        chunk = stream.read(_CHUNK)
    if valid or encoding != "utf-8" or beyond_ascii or not latin:
        return encoding, (), max(longest, length)
    note = "the file is not UTF-8 and was read as Windows-1252: check names and labels with accents"
    return "cp1252", (note,), max(longest, length)


def _without_mark(beginning: bytes) -> str:
    """Return the encoding of text without a mark: in UTF-16, every second byte of plain text is null."""
    even, odd = beginning[::2].count(0), beginning[1::2].count(0)
    half = len(beginning) // 2
    if half and not even and odd > 0.6 * half:
        return "utf-16-le"
    if half and not odd and even > 0.6 * half:
        return "utf-16-be"
    return "utf-8"


def _measured(chunk: bytes, length: int, longest: int) -> tuple[int, int]:
    """Return the length of the line that a chunk leaves open, and of the longest line, after the chunk."""
    first = min((at for at in (chunk.find(b"\n"), chunk.find(b"\r")) if at >= 0), default=-1)
    if first < 0:
        return length + len(chunk), longest
    last = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
    # A line inside of one chunk is shorter than the limit.
    return len(chunk) - last - 1, max(longest, length + first)


def _has_utf8(chunk: bytes) -> bool:
    """Return whether bytes contain a character beyond ASCII that is valid UTF-8."""
    text = chunk.decode("utf-8", "ignore")
    return not text.isascii()
