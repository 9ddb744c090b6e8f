"""Files of addresses that were seen: one a line, with a number of requests or without, or a table with a header."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, cast

from cidrgate.cli.errors import CommandError
from cidrgate.cli.output import counted
from cidrgate.errors import InvalidAddressError
from cidrgate.lists.csv_records import CsvLines, is_half_quoted, loosely_quoted, unclosed_quote
from cidrgate.lists.encodings import read_text_file
from cidrgate.lists.restrictions import restricts_by_name, restricts_by_value
from cidrgate.lists.rows import ListFileError, quoted
from cidrgate.rules.asked_networks import network_of
from cidrgate.values import MOST_REQUESTS, Observation

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from typing import IO

    from cidrgate.foresight import Observed
    from cidrgate.foresight.evaluation import DecidingNow

__all__ = ["SeenFile", "read_addresses", "seen_in_lines"]

_ADDRESS_COLUMNS = ("address", "ip", "client_ip", "client", "remote_addr", "network", "cidr")
_REQUEST_COLUMNS = ("requests", "count", "hits")
_ACCOUNT_COLUMN = "account"
_ALLOWED_COLUMN = "allowed"
_TRUTHS = {"true": True, "t": True, "yes": True, "1": True, "false": False, "f": False, "no": False, "0": False}
_SEPARATORS = ",;\t"
_COUNT = re.compile(r"[0-9]{1,18}")
_COUNT_FIRST = re.compile(r"([0-9]{1,18})[ \t]++(\S++)")
"""A line as `uniq -c` writes it, without the spaces before."""
_BETWEEN = re.compile(r"[,;\t ]++")
_PART_OF_ADDRESS = re.compile("[0-9:]")


class _Seen(NamedTuple):
    """A row of a file.

    Attributes:
        line: Its number.
        address: The address or the network, as it was written.
        requests: The number of requests, as it was written; empty for one request.
        account: The account; None if the file does not say it.
        allowed: Whether the requests were allowed.
    """

    line: int
    address: str
    requests: str
    account: str | None = None
    allowed: bool = True


@dataclass(frozen=True, slots=True)
class SeenFile:
    """What a file of addresses says.

    Attributes:
        requests: The requests by account, by whether they were allowed, and by address.
        ignored: The columns that do not count.
        without_address: How many rows have no address.
        has_verdicts: Whether the rows say what was decided. Otherwise they are addresses that somebody names, and all
            count, whatever a list decides about them.
    """

    requests: Counter[tuple[str | None, bool, str]]
    ignored: tuple[str, ...] = ()
    without_address: int = 0
    has_verdicts: bool = False

    def observed(self, accounts: Collection[str] | None = None, deciding: DecidingNow | None = None) -> Observed:
        """Return what was seen of some accounts; without a column of accounts, every row counts.

        Args:
            accounts: The accounts; None for all.
            deciding: What their list decides now, which counts and not what was decided then; None without a list.
        """
        if not self.has_verdicts:
            deciding = None
        allowed: Counter[str] = Counter()
        denials: list[Observation] = []
        for (account, was_allowed, address), requests in self.requests.items():
            if not _is_of(account, accounts):
                continue
            try:
                network = network_of(address)
            except InvalidAddressError:
                allowed[address] += requests  # it is left out as what it is
                continue
            if was_allowed if deciding is None else deciding.allows(network, allowed=was_allowed):
                allowed[address] += requests
            else:
                denials += _denials(network, requests)
        # `recommend` reads both forms in one iterable.
        return cast("Observed", [*allowed.items(), *denials]) if denials else allowed

    def notes(self, accounts: Collection[str] | None = None, deciding: DecidingNow | None = None) -> Iterator[str]:
        """Yield what a person must know about the rows and columns that do not count, and about denied addresses.

        Args:
            accounts: The accounts of which requests count; None for all.
            deciding: What their list decides now; None without a list.
        """
        if deciding is not None and not self.has_verdicts:
            addresses = {address for account, _, address in self.requests if _is_of(account, accounts)}
            denied = sum(_is_denied(address, deciding) for address in addresses)
            if denied:
                which = counted(denied, "address", "addresses")
                yield f"{which} that the list denies now {'counts' if denied == 1 else 'count'}: the file names them"
        if self.ignored:
            noun = "column" if len(self.ignored) == 1 else "columns"
            yield f"ignored the {noun} {', '.join(map(quoted, self.ignored))}"
        if self.without_address:
            which = counted(self.without_address, "row has", "rows have")
            yield f"{which} no address and {'does' if self.without_address == 1 else 'do'} not count"
        found = {account for account, _, _ in self.requests if account is not None}
        if accounts is None:
            if len(found) > 1:
                yield f"the requests of {len(found):,} accounts count together: --account ACCOUNT takes those of one"
            return
        others = found.difference(accounts)
        if others:
            requests = sum(n for (account, _, _), n in self.requests.items() if account in others)
            of = counted(len(others), "other account", "other accounts")
            which = counted(requests, "request", "requests")
            yield f"{which} of {of} in the file {'does' if requests == 1 else 'do'} not count"


def _is_of(account: str | None, accounts: Collection[str] | None) -> bool:
    return accounts is None or account is None or account in accounts


def _is_denied(address: str, deciding: DecidingNow) -> bool:
    try:
        return not deciding.allows(network_of(address), allowed=True)
    except InvalidAddressError:
        return False


def read_addresses(stream: IO[bytes]) -> SeenFile:
    """Return what a file of addresses says.

    Args:
        stream: Its bytes.

    Raises:
        CommandError: If it cannot be read as a file of addresses, or has none.
    """
    try:
        return seen_in_lines(read_text_file(stream).lines())
    except ListFileError as error:
        raise CommandError(str(error)) from None


def seen_in_lines(lines: Iterable[str]) -> SeenFile:
    r"""Return what lines say. A line without a number is one request; blank lines and `#` are left out.

    The columns of a table are those of an `Observation`, or have other usual names for the address and the number. Its
    values may be in quotes, also with line breaks in them. Behind its header, `#` is a part of a value.

    Raises:
        CommandError: If a number of requests is wrong, a table has no column of addresses or one that may say which
            rows count, a quote is not closed, or there is no address.

    Example:
        >>> seen_in_lines(["8.8.8.8\n", "8.8.8.8,4\n", "     12 9.9.9.9\n", "# end\n"]).observed()
        Counter({'9.9.9.9': 12, '8.8.8.8': 5})
        >>> seen = seen_in_lines(["account;IP;hits;city\n", "a;8.8.8.8;7;Bern\n", "b;9.9.9.9;2;Bern\n"])
        >>> seen.observed(["a"]), seen.ignored
        (Counter({'8.8.8.8': 7}), ('city',))
    """
    numbered = enumerate(lines, start=1)
    written = ((number, line) for number, line in numbered if _bare(line).strip() and not _bare(line).startswith("#"))
    first = next(written, None)
    if first is None:
        raise CommandError("the file contains no address")
    number, text = first[0], _bare(first[1])
    separator = next((one for one in _SEPARATORS if one in text), ",")
    if any(name.strip().lower() in _ADDRESS_COLUMNS for name in next(csv.reader([text], delimiter=separator))):
        rest = (line for _, line in numbered)
        rows = _records(CsvLines(chain([first[1]], rest), number=number - 1), separator)
        table = _Table(next(rows)[1])
        requests = _summed(table.rows(rows))
        return SeenFile(requests, table.ignored, table.without_address, table.has_verdicts)
    if not _PART_OF_ADDRESS.search(text):
        raise CommandError(
            f"line {number} is {quoted(text)}: it is no address, and no column is named address, ip, client_ip, "
            "client, remote_addr, network or cidr"
        )
    return SeenFile(_summed(_plain(number, _bare(line)) for number, line in chain([first], written)))


def _bare(line: str) -> str:
    return line.strip("\ufeff \r\n")


def _records(lines: CsvLines, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each record of a table, with the number of its first line.

    Raises:
        CommandError: If a quote is not closed.
    """
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            if len(lines.record) > 1:
                raise CommandError(unclosed_quote(lines, error)) from None
            cells = loosely_quoted(lines.record[0], separator)
            if cells is None:
                raise CommandError(f"line {lines.number} is not valid CSV: {error}") from None
        if cells is None:
            return
        number, raw = lines.first, "".join(lines.record)
        lines.record.clear()
        if is_half_quoted(cells) and loosely_quoted(raw, separator) is None:
            raise CommandError(f"line {number} has a quote with spaces before it that is not closed there")
        yield number, [cell.strip() for cell in cells]


class _Table:
    """Reads the rows of a table.

    Args:
        header: The names of its columns.

    Attributes:
        has_verdicts: Whether a column says what was decided.
        ignored: The names of the columns that do not count.
        without_address: How many of the rows that were read have no address, and are not blank.

    Raises:
        CommandError: If a column is repeated, or its name says that it may decide which rows count.
    """

    def __init__(self, header: list[str]) -> None:
        self._header = header
        self.without_address = 0
        names = [name.lower() for name in header]
        self._address = self._place(names, _ADDRESS_COLUMNS)
        self._requests = self._place(names, _REQUEST_COLUMNS)
        self._account = self._place(names, (_ACCOUNT_COLUMN,))
        self._allowed = self._place(names, (_ALLOWED_COLUMN,))
        used = {self._address, self._requests, self._account, self._allowed}
        self._others = [place for place in range(len(header)) if place not in used]
        self.has_verdicts = self._allowed is not None
        self.ignored = tuple(header[place] for place in self._others if header[place])
        for name in self.ignored:
            if restricts_by_name(name):
                raise CommandError(f"the column {quoted(name)} may say which rows count, {_WAY_OUT}")

    @staticmethod
    def _place(names: list[str], wanted: tuple[str, ...]) -> int | None:
        name = next((one for one in wanted if one in names), None)
        if name is not None and names.count(name) > 1:
            raise CommandError(f"the column {quoted(name)} is repeated: leave one of them")
        return None if name is None else names.index(name)

    def rows(self, records: Iterable[tuple[int, list[str]]]) -> Iterator[_Seen]:
        """Yield the rows.

        Args:
            records: The number of the first line of each record, and its cells.

        Raises:
            CommandError: If a cell may decide whether its row counts, and is not understood.
        """
        for number, cells in records:
            address = self._cell(cells, self._address)
            if not address:
                self.without_address += any(cells)
                continue
            for place in self._others:
                value = self._cell(cells, place)
                if value and restricts_by_value(value):
                    name = self._header[place]
                    column = f"the column {quoted(name)}" if name else f"column {place + 1}, which has no name,"
                    raise CommandError(
                        f"line {number}: {column} contains {quoted(value)}, which may say that the row does not count, "
                        f"{_WAY_OUT}"
                    )
            account = None if self._account is None else self._cell(cells, self._account)
            yield _Seen(number, address, self._cell(cells, self._requests), account, self._is_allowed(number, cells))

    @staticmethod
    def _cell(cells: list[str], place: int | None) -> str:
        return cells[place] if place is not None and place < len(cells) else ""

    def _is_allowed(self, number: int, cells: list[str]) -> bool:
        if self._allowed is None:
            return True
        text = self._cell(cells, self._allowed)
        allowed = _TRUTHS.get(text.lower())
        if allowed is None:
            raise CommandError(f"line {number}: {quoted(text)} in the column 'allowed' is neither true nor false")
        return allowed


_WAY_OUT = (
    "and recommend does not read it: remove the column if every row counts, or name it 'allowed' and write true or "
    "false in it"
)


def _denials(network: str, requests: int) -> Iterator[Observation]:
    """Yield denied requests as observations, of which each has so many at most."""
    at = datetime.now(UTC)  # nothing asks when they were
    while requests > 0:
        some = min(requests, MOST_REQUESTS)
        requests -= some
        yield Observation(account="", network=network, allowed=False, requests=some, first_seen=at, last_seen=at)


def _plain(number: int, line: str) -> _Seen:
    if line.count('"') % 2:
        raise CommandError(f"line {number} has a quote that is not closed there")
    found = _COUNT_FIRST.fullmatch(line.strip())
    if found:
        return _Seen(number, found[2], found[1])
    address, *rest = _BETWEEN.split(line.strip(), maxsplit=1)
    return _Seen(number, address, rest[0] if rest else "")


def _summed(rows: Iterable[_Seen]) -> Counter[tuple[str | None, bool, str]]:
    found: Counter[tuple[str | None, bool, str]] = Counter()
    for number, address, requests, account, allowed in rows:
        text = requests.strip()
        if text and _COUNT.fullmatch(text) is None:
            hint = "; of an access log, give the addresses alone: awk '{ print $1 }' LOG" if " " in text else ""
            raise CommandError(
                f"line {number}: {quoted(text)} is not a number of requests; write `address,requests`{hint}"
            )
        found[account, allowed, address.strip()] += int(text) if text else 1
    return found
