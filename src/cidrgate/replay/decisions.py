"""Decides about a batch of requests: the client's address, the account, and what two matchers say about them.

There is no Python object for a row. Python sees only distinct values, and only where it must: the pairs of peer and
header for the client's address, and the paths that programs may read in different ways.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import numpy as np

from cidrgate._engine import _accounts_in_paths, canonical_address
from cidrgate.errors import InvalidAddressError, UnclearAccountError
from cidrgate.gate.account_sources import FromPath
from cidrgate.replay.sources import text_before_account

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cidrgate._engine import Matcher
    from cidrgate.gate.client_ip import ClientIPResolver

__all__ = ["VERDICTS", "Decided", "Decider"]

ALLOWED, DENIED, NEWLY_DENIED, NEWLY_ALLOWED, UNKNOWN_ACCOUNT, NO_ACCOUNT, NO_ADDRESS = range(7)
VERDICTS = (
    "allowed",
    "denied",
    "newly_denied",
    "newly_allowed",
    "unknown_account",
    "no_account",
    "no_address",
)
"""What there is to say about a request, by its number in a batch."""

_MOST_KEPT = 500_000
"""How many distinct values a cache holds before it is emptied."""

_MOST_UNREADABLE = 20


@dataclass(frozen=True, slots=True)
class Decided:
    """A batch that was decided; bad lines are left out.

    Attributes:
        accounts: The accounts, as an Arrow array; null where a request has none.
        addresses: The clients' addresses, as an Arrow array; null where a request has none.
        verdicts: What there is to say about each request: a place in `VERDICTS`. A request without an address is newly
            denied or newly allowed if its account is enforced only after or only before.
        requests: How many requests each row stands for; None for one each.
        times: Microseconds since 1970; None if the log has no times.
        bad: How many lines were left out.
    """

    accounts: Any
    addresses: Any
    verdicts: NDArray[np.int8]
    requests: NDArray[np.int64] | None
    times: NDArray[np.int64] | None
    bad: int


@dataclass(slots=True)
class Decider:
    """Decides about batches.

    Args:
        matcher: The lists to decide with.
        before: The lists to compare with; None for no comparison.
        account: The account of every request, or what finds it in a path; None if a column has it.
        resolver: Finds the client's address; None if the log has it.
        of_json: Whether the log is JSON, which may have a header as a list of its lines.
    """

    matcher: Matcher
    before: Matcher | None = None
    account: str | FromPath | None = None
    resolver: ClientIPResolver | None = None
    of_json: bool = False
    unreadable: dict[str, None] = field(default_factory=dict)
    """The first texts that stood in the place of an address, and are none."""
    only_after: set[str] = field(default_factory=set)
    """The accounts with requests that `matcher` knows and `before` does not."""
    only_before: set[str] = field(default_factory=set)
    """The accounts with requests that `before` knows and `matcher` does not."""
    _paths: dict[str, str | None] = field(default_factory=dict)
    _clients: dict[tuple[str | None, str | None], str | None] = field(default_factory=dict)

    def decide(self, batch: Any) -> Decided:
        """Decide about a batch of `request_query`."""
        import pyarrow.compute as pc

        whole = batch.num_rows
        if batch.column("address").null_count:
            batch = batch.filter(pc.is_valid(batch.column("address")))
        addresses = batch.column("address")
        if self.resolver is not None:
            addresses = self._resolved(addresses, _column(batch, "forwarded"))
        try:
            accounts, verdicts = self._decided(batch, addresses)
        except InvalidAddressError:
            # What has no account needs no address that can be read, whatever else is in the batch.
            kept = pc.or_(self._readable(addresses), pc.is_null(self._accounts(batch)))
            batch, addresses = batch.filter(kept), addresses.filter(kept)
            accounts, verdicts = self._decided(batch, addresses)
        requests, times = _column(batch, "requests"), _column(batch, "time")
        return Decided(
            accounts,
            addresses,
            verdicts,
            None if requests is None else requests.to_numpy(zero_copy_only=False),
            None if times is None else times.to_numpy(zero_copy_only=False),
            whole - batch.num_rows,
        )

    def has_account(self, batch: Any) -> Any:
        """Return which rows of a batch have an account, as an Arrow array."""
        return self._accounts(batch).is_valid()

    def _decided(self, batch: Any, addresses: Any) -> tuple[Any, NDArray[np.int8]]:
        """Return the accounts of a batch, and the verdicts."""
        import pyarrow as pa

        accounts = self._accounts(batch)
        if not accounts.null_count and not addresses.null_count:
            return accounts, self._verdicts(accounts, addresses)
        with_account, with_address = _valid(accounts), _valid(addresses)
        verdicts = np.full(batch.num_rows, NO_ACCOUNT, np.int8)
        unaddressed = with_account & ~with_address
        verdicts[unaddressed] = self._without_address(accounts.filter(pa.array(unaddressed)))
        usable = with_account & with_address
        mask = pa.array(usable)
        verdicts[usable] = self._verdicts(accounts.filter(mask), addresses.filter(mask))
        return accounts, verdicts

    def _verdicts(self, accounts: Any, addresses: Any) -> NDArray[np.int8]:
        """Return the verdicts about requests that have an account and an address."""
        if _is_number(addresses):
            addresses = addresses.to_numpy(zero_copy_only=False)
        allowed, known = _asked(self.matcher, accounts, addresses)
        if self.before is None:
            verdicts = (~allowed).astype(np.int8)  # ALLOWED and DENIED
        else:
            earlier, known_before = _asked(self.before, accounts, addresses)
            self._note_known(accounts, known, known_before)
            known |= known_before
            verdicts = _COMPARED[earlier.view(np.int8) * 2 + allowed.view(np.int8)]
        if not known.all():
            verdicts[~known] = UNKNOWN_ACCOUNT
        return verdicts

    def _without_address(self, accounts: Any) -> NDArray[np.int8]:
        """Return the verdicts about requests that have an account and no address: a gate asks only who is enforced."""
        if self.before is None:
            return np.full(len(accounts), NO_ADDRESS, np.int8)
        encoded = accounts.dictionary_encode()
        names = encoded.dictionary.to_pylist()
        enforced, known = _enforced(self.matcher, names)
        enforced_before, known_before = _enforced(self.before, names)
        self._note_known(encoded.dictionary, known, known_before)
        verdicts = np.full(len(names), NO_ADDRESS, np.int8)
        verdicts[enforced & ~enforced_before] = NEWLY_DENIED
        verdicts[enforced_before & ~enforced] = NEWLY_ALLOWED
        found: NDArray[np.int8] = verdicts[encoded.indices.to_numpy(zero_copy_only=False)]
        return found

    def _note_known(self, accounts: Any, known: NDArray[np.bool_], known_before: NDArray[np.bool_]) -> None:
        """Note the accounts that only one of the two matchers knows."""
        import pyarrow as pa

        for noted, chosen in ((self.only_after, known & ~known_before), (self.only_before, known_before & ~known)):
            if chosen.any():
                noted.update(accounts.filter(pa.array(chosen)).unique().to_pylist())

    def _accounts(self, batch: Any) -> Any:
        """Return the accounts of a batch."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if isinstance(self.account, str):
            only = pa.array([self.account])
            return pa.DictionaryArray.from_arrays(pa.array(np.zeros(batch.num_rows, np.int32)), only)
        if not isinstance(self.account, FromPath):
            return batch.column("account")
        paths = batch.column("path")
        before = text_before_account(self.account)
        if before is None:
            distinct = paths.dictionary_encode()
            found = pa.array([self._account_of(one) for one in distinct.dictionary.to_pylist()], pa.string())
            return found.take(distinct.indices)
        (nulls, *buffers), rows = _accounts_in_paths(paths, before)
        accounts = pa.Array.from_buffers(pa.string(), len(paths), [pa.py_buffer(one) for one in buffers], nulls)
        unclear = np.frombuffer(rows, np.int64)
        if not len(unclear):
            return accounts
        found = pa.array([self._account_of(one) for one in paths.take(pa.array(unclear)).to_pylist()], pa.string())
        mask = np.zeros(len(paths), bool)
        mask[unclear] = True
        return pc.replace_with_mask(accounts, pa.array(mask), found)

    def _account_of(self, path: str | None) -> str | None:
        """Return the account in a path as the log has it, as the gate finds it."""
        if path is None:
            return None
        if path in self._paths:
            return self._paths[path]
        if len(self._paths) >= _MOST_KEPT:
            self._paths.clear()
        try:
            found = self.account.account(unquote(path), path.encode()) if isinstance(self.account, FromPath) else None
        except UnclearAccountError:
            found = None
        self._paths[path] = found
        return found

    def _resolved(self, peers: Any, headers: Any) -> Any:
        """Return the clients' addresses, which are found once for each distinct pair of peer and header."""
        import pyarrow as pa

        first = peers.dictionary_encode()
        if headers is None:
            pairs, second = first.indices.to_numpy(), None
        else:
            second = headers.dictionary_encode()
            places = second.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64) + 1
            pairs = first.indices.to_numpy().astype(np.int64) * (len(second.dictionary) + 1) + places
        distinct, inverse = np.unique(pairs, return_inverse=True)
        names = first.dictionary.to_pylist()
        values = [] if second is None else second.dictionary.to_pylist()
        width = 1 if second is None else len(values) + 1
        found = []
        for pair in distinct.tolist():
            peer, place = divmod(pair, width)
            found.append(self._client_of(_peer_text(names[peer]), values[place - 1] if place else None))
        return pa.array(found, pa.string()).take(pa.array(inverse))

    def _client_of(self, peer: str | None, header: str | None) -> str | None:
        key = (peer, header)
        if key in self._clients:
            return self._clients[key]
        if len(self._clients) >= _MOST_KEPT:
            self._clients.clear()
        assert self.resolver is not None  # noqa: S101 - it is asked only then
        name = (self.resolver.client_header or "x-forwarded-for").encode()
        lines = [(name, value.encode()) for value in _header_lines(header, lists=self.of_json)]
        found = self.resolver.resolve(peer, lines)
        self._clients[key] = found.address
        return found.address

    def _readable(self, addresses: Any) -> Any:
        """Return which addresses can be read."""
        import pyarrow as pa

        distinct = addresses.dictionary_encode()
        # An address that is missing is not one that cannot be read.
        readable = [True, *(self._is_address(one) for one in distinct.dictionary.to_pylist())]
        places = distinct.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return pa.array(np.array(readable, bool)[places + 1])

    def _is_address(self, text: str) -> bool:
        try:
            canonical_address(text)
        except InvalidAddressError:
            if len(self.unreadable) < _MOST_UNREADABLE:
                self.unreadable[text] = None
            return False
        return True


def _asked(matcher: Matcher, accounts: Any, addresses: Any) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return for each request whether it is allowed, and whether its account is known."""
    if _is_constant(accounts):
        [row] = matcher.rows(accounts.dictionary)
        known = np.full(len(accounts), row >= 0)
        return matcher.allows_many(accounts.dictionary[0].as_py(), addresses), known
    rows = matcher.rows(accounts)
    known = rows >= 0
    if len(rows) and known[0] and (rows == rows[0]).all():
        # For one list, the engine makes tables for the batch, which answer many times as fast.
        return matcher.allows_many(accounts[0].as_py(), addresses), known
    return matcher.allows_many(rows, addresses), known


def _enforced(matcher: Matcher, names: list[str]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return for each name whether the account is enforced, and whether it is known."""
    known = matcher.rows(names) >= 0
    answers = (is_known and matcher.enforced(name) for name, is_known in zip(names, known.tolist(), strict=True))
    return np.fromiter(answers, np.bool_, len(names)), known


def _is_constant(accounts: Any) -> bool:
    """Return whether an array without nulls is a dictionary of one value."""
    import pyarrow as pa

    return pa.types.is_dictionary(accounts.type) and len(accounts.dictionary) == 1


_COMPARED = np.array([DENIED, NEWLY_ALLOWED, NEWLY_DENIED, ALLOWED], np.int8)
"""The verdict by twice whether the request was allowed before, plus whether it is allowed now."""


def _column(batch: Any, name: str) -> Any:
    return batch.column(name) if name in batch.schema.names else None


def _valid(array: Any) -> NDArray[np.bool_]:
    valid: NDArray[np.bool_] = array.is_valid().to_numpy(zero_copy_only=False)
    return valid


def _is_number(array: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(array.type))


def _peer_text(peer: str | int | None) -> str | None:
    """Return the address of a peer, which a log may have as a number."""
    if isinstance(peer, int):
        return str(IPv4Address(peer)) if 0 <= peer < 2**32 else str(peer)
    return peer


def _header_lines(text: str | None, *, lists: bool) -> list[str]:
    """Return the lines of a header: a log has them as one text, as a list in JSON, or none of them as a dash.

    Args:
        text: What the log has.
        lists: Whether what begins as a list in JSON is one. In other logs, such a text is what the client sent.

    Example:
        >>> _header_lines('["10.0.0.1", "8.8.8.8, 10.0.0.2"]', lists=True)
        ['10.0.0.1', '8.8.8.8, 10.0.0.2']
        >>> _header_lines("8.8.8.8", lists=False), _header_lines("-", lists=False)
        (['8.8.8.8'], [])
    """
    if text in (None, "", "-"):
        return []
    if lists and text.startswith("["):
        return [str(line) for line in json.loads(text)]
    return [text]
