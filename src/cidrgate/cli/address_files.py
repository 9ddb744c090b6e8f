"""Files of addresses that were seen: one a line, with a number of requests or without, or a table with a header."""

from __future__ import annotations

import csv
import re
from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

from cidrgate.cli.errors import CommandError
from cidrgate.lists.encodings import read_text_file
from cidrgate.lists.rows import ListFileError, quoted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO

__all__ = ["read_addresses", "requests_of_lines"]

_ADDRESS_COLUMNS = ("address", "ip", "client_ip", "client", "remote_addr", "network", "cidr")
_REQUEST_COLUMNS = ("requests", "count", "hits")
_SEPARATORS = ",;\t"
_COUNT = re.compile(r"[0-9]{1,18}")
_COUNT_FIRST = re.compile(r"([0-9]{1,18})[ \t]++(\S++)")
"""A line as `uniq -c` writes it, without the spaces before."""
_BETWEEN = re.compile(r"[,;\t ]++")
_PART_OF_ADDRESS = re.compile("[0-9:]")


def read_addresses(stream: IO[bytes]) -> Counter[str]:
    """Return the requests of each address of a file.

    Args:
        stream: Its bytes.

    Raises:
        CommandError: If it cannot be read as a file of addresses, or has none.
    """
    try:
        return requests_of_lines(read_text_file(stream).lines())
    except ListFileError as error:
        raise CommandError(str(error)) from None


def requests_of_lines(lines: Iterable[str]) -> Counter[str]:
    r"""Return the requests of each address. A line without a number is one request; blank lines and `#` are left out.

    Raises:
        CommandError: If a number of requests is wrong, a table has no column of addresses, or there is no address.

    Example:
        >>> dict(requests_of_lines(["8.8.8.8\n", "8.8.8.8,4\n", "     12 9.9.9.9\n", "# end\n"]))
        {'8.8.8.8': 5, '9.9.9.9': 12}
        >>> dict(requests_of_lines(["time;IP;hits\n", "12:00;8.8.8.8;7\n"]))
        {'8.8.8.8': 7}
    """
    numbered = ((number, line.strip("\ufeff \r\n")) for number, line in enumerate(lines, start=1))
    written = ((number, line) for number, line in numbered if line.strip() and not line.startswith("#"))
    first = next(written, None)
    if first is None:
        raise CommandError("the file contains no address")
    separator = next((one for one in _SEPARATORS if one in first[1]), ",")
    names = [name.strip().lower() for name in next(csv.reader([first[1]], delimiter=separator))]
    address = next((names.index(name) for name in _ADDRESS_COLUMNS if name in names), None)
    if address is not None:
        requests = next((names.index(name) for name in _REQUEST_COLUMNS if name in names), None)
        return _summed(_table(written, separator, address, requests))
    if not _PART_OF_ADDRESS.search(first[1]):
        raise CommandError(
            f"line {first[0]} is {quoted(first[1])}: it is no address, and no column is named address, ip, client_ip, "
            "client, remote_addr, network or cidr"
        )
    return _summed(_plain(number, line) for number, line in chain([first], written))


def _table(
    lines: Iterator[tuple[int, str]], separator: str, address: int, requests: int | None
) -> Iterator[tuple[int, str, str]]:
    for number, line in lines:
        cells = next(csv.reader([line], delimiter=separator))
        if address < len(cells):
            yield number, cells[address], cells[requests] if requests is not None and requests < len(cells) else ""


def _plain(number: int, line: str) -> tuple[int, str, str]:
    counted = _COUNT_FIRST.fullmatch(line.strip())
    if counted:
        return number, counted[2], counted[1]
    address, *rest = _BETWEEN.split(line.strip(), maxsplit=1)
    return number, address, rest[0] if rest else ""


def _summed(rows: Iterable[tuple[int, str, str]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for number, address, requests in rows:
        text = requests.strip()
        if text and _COUNT.fullmatch(text) is None:
            hint = "; of an access log, give the addresses alone: awk '{ print $1 }' LOG" if " " in text else ""
            raise CommandError(
                f"line {number}: {quoted(text)} is not a number of requests; write `address,requests`{hint}"
            )
        found[address.strip()] += int(text) if text else 1
    return found
