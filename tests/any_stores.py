"""Any store: rows of its tables as hypothesis draws them, made of the columns that the schema declares.

The rows are written and read with statements of their own, and compared column by column. So a column that is added is
drawn without being named here, and a copy that loses it differs.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from sqlalchemy import JSON, Boolean, Integer, insert, select, text, update

from cidrgate import Gate, RuleManager
from cidrgate._engine import canonical_prefix
from cidrgate.errors import InvalidAddressError
from cidrgate.manager.modes import DEFAULT_SETTINGS
from cidrgate.rules.account_names import can_name_account
from cidrgate.rules.characters import unseen_character
from cidrgate.stores import open_store
from cidrgate.stores.schema import UtcTime, accounts, changes, entries, facts, matches, tokens
from tests.golden import read_network
from tests.strategies import addresses_near, networks, text_of

if TYPE_CHECKING:
    from sqlalchemy import Column, Table

    from cidrgate.stores import Transaction

__all__ = ["StoreRows", "any_stores", "contents", "verdicts"]

PAST, FUTURE = datetime(2020, 1, 2, 3, 4, 5, 678, tzinfo=UTC), datetime(2999, 1, 1, tzinfo=UTC)
_times = st.integers(0, 10**9).map(lambda more: datetime(2020, 1, 1, tzinfo=UTC) + timedelta(microseconds=more * 977))
_characters = st.sampled_from("=+-@|%'\"; ,/\\ab☕\uff1d") | st.characters(exclude_categories=["C", "Z"])
_texts = st.text(_characters, min_size=1, max_size=12).filter(lambda one: unseen_character(one) is None)
names = (
    st.text(_characters, min_size=1, max_size=20)
    .map(lambda one: unicodedata.normalize("NFC", one).strip() or "a")
    .filter(can_name_account)
)

SPECIAL: dict[str, st.SearchStrategy[Any]] = {
    "accounts.version": st.integers(0, 9),
    "accounts.mode": st.sampled_from(["enforce", "report_only", "off"]),
    "accounts.mode_until": st.none() | st.just(FUTURE),
    "accounts.policy": st.none() | st.fixed_dictionaries({"max_entries": st.integers(50, 99)}),
    "entries.expires_at": st.none() | st.sampled_from([PAST, FUTURE]),
}
"""What columns contain that do not take every value of their type."""


def _values(table: Table, column: Column[Any]) -> st.SearchStrategy[Any]:
    if f"{table.name}.{column.name}" in SPECIAL:
        return SPECIAL[f"{table.name}.{column.name}"]
    kinds: dict[type, st.SearchStrategy[Any]] = {
        UtcTime: _times,
        JSON: st.fixed_dictionaries({"any": _texts}),
        Boolean: st.booleans(),
        Integer: st.integers(0, 99),
    }
    drawn = next((found for kind, found in kinds.items() if isinstance(column.type, kind)), _texts)
    return st.none() | drawn if column.nullable else drawn


def _rows(table: Table, *without: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {column.name: _values(table, column) for column in table.columns if column.name not in without}
    )


_account_rows = _rows(accounts, "id", "name", "parent_id")
_entry_rows = _rows(entries, "id", "account_id", "cidr")
_token_rows = _rows(tokens, "id")


@dataclass
class StoreRows:
    """The rows of a store by table."""

    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def write(self, url: str) -> None:
        """Write them to an empty store."""
        store = open_store(url)
        try:
            with store.write() as transaction:
                for table in (accounts, entries, matches, changes, tokens):
                    if self.rows.get(table.name):
                        transaction.connection.execute(insert(table), self.rows[table.name])
                if transaction.connection.dialect.name == "postgresql":
                    _move_sequences(transaction)
                policy = self.rows["facts"][0]["policy"]
                transaction.connection.execute(update(facts).values(policy=policy))
        finally:
            store.close()

    @property
    def names(self) -> list[str]:
        return [row["name"] for row in self.rows["accounts"]]

    @property
    def cidrs(self) -> list[str]:
        return [row["cidr"] for row in self.rows["entries"]]


def _move_sequences(transaction: Transaction) -> None:
    for table, key in {"accounts": "id", "entries": "id", "changes": "sequence", "tokens": "id"}.items():
        transaction.connection.execute(
            text(
                f"SELECT setval(pg_get_serial_sequence('cidrgate.{table}', '{key}'), "
                f"(SELECT coalesce(max({key}), 0) + 1 FROM cidrgate.{table}))"
            )
        )


@st.composite
def any_stores(draw: st.DrawFn) -> StoreRows:
    """Subaccounts, empty accounts, expired entries and only those, every setting, and any legal name."""
    made: dict[str, list[dict[str, Any]]] = {"accounts": [], "entries": [], "matches": [], "changes": [], "tokens": []}
    drawn = draw(st.lists(names, max_size=5, unique=True))
    tops = drawn[: max(1, len(drawn) - draw(st.integers(0, 2)))]
    # Keys that an importing store would not give: they must not matter.
    keys = {name: 7 + 3 * place for place, name in enumerate(drawn)}
    for name in drawn:
        parent = None if name in tops else keys[draw(st.sampled_from(tops))]
        row = {"id": keys[name], "name": name, "parent_id": parent, **draw(_account_rows)}
        if parent is not None:  # a subaccount follows its parent
            row |= DEFAULT_SETTINGS
        if row["mode"] == "enforce":
            row["mode_until"] = None
        made["accounts"].append(row)
    for name in tops:
        cidrs: list[Any] = []
        only_expired = draw(st.integers(0, 4)) == 0
        for network in draw(st.lists(networks(), max_size=6)):
            one = read_network(str(network))
            if not any(one.version == other.version and one.overlaps(other) for other in cidrs):
                cidrs.append(one)
        for network in cidrs:
            entry = {"id": 5 + 2 * len(made["entries"]), "account_id": keys[name], "cidr": text_of(network)}
            entry |= draw(_entry_rows)
            if only_expired:
                entry["expires_at"] = PAST
            made["entries"].append(entry)
            if draw(st.booleans()):
                made["matches"].append({"entry_id": entry["id"], "at": draw(_times)})
    for name in drawn:
        made["changes"].append(
            {
                "sequence": 3 + 2 * len(made["changes"]),
                "at": draw(_times),
                "actor": draw(st.none() | _texts),
                "account": name,
                "action": "create_account",
                "before": [],
                "after": [],
                "details": draw(st.none() | st.fixed_dictionaries({"before": st.just({}), "after": st.just({"a": 1})})),
                "origin": draw(st.none() | st.just({"kind": "cli"})),
            }
        )
    made["tokens"] = [{"id": 3 + place, **one} for place, one in enumerate(draw(st.lists(_token_rows, max_size=2)))]
    made["facts"] = [{"policy": draw(SPECIAL["accounts.policy"])}]
    return StoreRows(made)


def contents(url: str, *, keys: bool) -> dict[str, list[dict[str, Any]]]:
    """Every value of a store, by table.

    Args:
        url: The store.
        keys: Whether keys count, as in a backup. Otherwise names replace them, and only accounts and entries count.
    """
    store = open_store(url)
    try:
        with store.read() as transaction:
            found = {
                table.name: [dict(row) for row in transaction.connection.execute(select(table)).mappings()]
                for table in (accounts, entries, matches, changes, tokens, facts)
            }
    finally:
        store.close()
    for row in found["facts"]:
        del row["store_id"]
    for row in found["entries"]:
        row["cidr"] = canonical_prefix(row["cidr"])  # each database writes some networks in its own way
    if not keys:
        by_id = {row["id"]: row["name"] for row in found["accounts"]}
        matched = {row["entry_id"]: row["at"] for row in found["matches"]}
        for row in found["accounts"]:
            row["parent"] = by_id.get(row.pop("parent_id"))
        for row in found["entries"]:
            row["account"], row["matched"] = by_id[row.pop("account_id")], matched.get(row["id"])
        found = {name: found[name] for name in ("accounts", "entries")}
        for row in (*found["accounts"], *found["entries"]):
            del row["id"]
    return {name: sorted(rows, key=repr) for name, rows in found.items()}


def verdicts(manager: RuleManager, names: list[str], addresses: list[str]) -> list[object]:
    """What a manager and a gate answer for every account and address."""
    gate = Gate(manager, unlisted="deny_unknown", log="none")
    found: list[object] = []
    for name in (*names, "nobody"):
        for address in addresses:
            try:
                allowed: object = manager.allows(name, address)
            except InvalidAddressError:
                allowed = None
            decision = manager.explain(name, address)
            found.append((name, address, allowed, decision.reason, gate.decide(name, address).result))
    return found


def addresses_for(rows: StoreRows) -> st.SearchStrategy[list[str]]:
    """Addresses in, beside and far from the entries."""
    return st.lists(addresses_near(rows.cidrs), min_size=1, max_size=6)
