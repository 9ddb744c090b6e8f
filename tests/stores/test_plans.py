"""What is done with one list finds its rows by an index: it costs the same however many lists and changes there are."""

from __future__ import annotations

import json
import re
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from cidrgate import NewEntry, RuleManager
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from tests.rows import rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine

ACCOUNTS = 500
LARGE = {"accounts", "entries", "changes"}
PARAMETER = re.compile(r"%\((\w+)\)s")
PLANNED = re.compile(r"\s*(SELECT|UPDATE|DELETE|WITH)\b")


@pytest.fixture
def manager(store_url: str) -> Iterator[RuleManager]:
    with RuleManager.open(store_url, follow=False) as manager:
        names = [f"acct-{number}" for number in range(ACCOUNTS)]
        manager.import_accounts({name: [NewEntry("8.8.8.0/24"), NewEntry("9.9.9.0/24")] for name in names})
        for name in names[:200]:
            manager.remove(name, "9.9.9.0/24")
        if store_url.startswith("postgresql"):
            # Plans must not depend on when the server last looked at the tables by itself.
            with manager._store.write() as transaction:
                transaction.connection.exec_driver_sql("ANALYZE")
        yield manager


def engines_of(manager: RuleManager) -> list[Engine]:
    """Those that read and those that write."""
    store: Any = manager._store
    return list({id(engine): engine for engine in (store._readers, store._writers)}.values())


def whole_scans(engine: Engine, statement: str, parameters: Any) -> list[str]:
    """The large tables a statement goes through from end to end, as its plan says."""
    with closing(engine.raw_connection()) as connection:
        cursor: Any = connection.cursor()
        if engine.dialect.name == "sqlite":
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            scans = [re.match(r"SCAN (\w+)", row[3]) for row in cursor.fetchall()]
            return [scan[0] for scan in scans if scan is not None and scan[1] in LARGE]
        cursor.execute("BEGIN")
        found = [scan for scan in plan_scans(cursor, statement) if '"changes_by_account"' in scan]
        # Tables as small as a test's are faster read whole, and joined by a hash of all there is.
        for way in ("seqscan", "hashjoin", "mergejoin"):
            cursor.execute(f"SET LOCAL enable_{way} = off")
        return found + plan_scans(cursor, statement)


def plan_scans(cursor: Any, statement: str) -> list[str]:
    """Whole scans in PostgreSQL's plan for a statement once it has seen it some times: whatever its parameters are."""
    names = list(dict.fromkeys(PARAMETER.findall(statement)))
    numbered = PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", statement)
    values = f"({', '.join(['NULL'] * len(names))})" if names else ""
    cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    cursor.execute(f"PREPARE planned AS {numbered}")
    cursor.execute(f"EXPLAIN (FORMAT JSON) EXECUTE planned{values}")
    [[[plan]]] = cursor.fetchall()
    cursor.execute("DEALLOCATE planned")
    return [json.dumps(node) for node in nodes(plan["Plan"]) if is_whole_scan(node)]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


def is_whole_scan(node: dict[str, Any]) -> bool:
    if "Scan" not in node["Node Type"] or node.get("Relation Name") not in LARGE:
        return False
    return not {"Index Cond", "Recheck Cond"} & node.keys()


def follow(manager: RuleManager, other: RuleManager) -> None:
    other.add("acct-12", "1.1.1.1/32")
    manager._replica.published.catch_up()


WORK: dict[str, Callable[[RuleManager, RuleManager], object]] = {
    "add": lambda manager, _: manager.add("acct-7", "1.1.1.1/32", label="x"),
    "edit": lambda manager, _: manager.edit("acct-8", "8.8.8.0/24", "8.8.0.0/16"),
    "remove": lambda manager, _: manager.remove("acct-13", "8.8.8.0/24", allow_empty=True),
    "replace": lambda manager, _: manager.replace("acct-9", "1.1.1.1/32"),
    "restore": lambda manager, _: manager.restore(
        "acct-10", to_sequence=manager.history("acct-10", limit=1)[0].sequence - 1
    ),
    "undo": lambda manager, _: manager.undo(
        "acct-14", manager.history("acct-14", limit=1)[0].sequence, allow_empty=True
    ),
    "listing": lambda manager, _: manager.listing("acct-11"),
    "history": lambda manager, _: manager.history("acct-11", limit=10),
    "counts": lambda manager, _: manager.counts(["acct-11", "acct-12"]),
    "states": lambda manager, _: manager.list_states(["acct-11", "acct-12"]),
    "page": lambda manager, _: manager.accounts(after="acct-3", limit=10),
    "follow": follow,
}


@rows("work", WORK)
def test_one_list_is_found_by_an_index(manager: RuleManager, store_url: str, work: str) -> None:
    engines = engines_of(manager)
    seen: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, statement: str, parameters: Any, _context: object, many: bool) -> None:
        if PLANNED.match(statement):
            seen.append((statement, parameters[0] if many else parameters))

    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    if store_url.startswith("memory"):
        WORK[work](manager, manager)
    else:
        with RuleManager.open(store_url, load=False) as other:
            WORK[work](manager, other)
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)
    assert seen
    assert {
        statement: found for statement, parameters in seen if (found := whole_scans(engines[0], statement, parameters))
    } == {}


def test_a_token_is_found_by_an_index(store_url: str) -> None:
    with RuleManager.open(store_url, load=False) as manager:
        credentials = Credentials(manager._store)
        secret = credentials.create_token("billing", [Scope("admin")]).secret
        engine = engines_of(manager)[0]
        seen: list[str] = []
        event.listen(engine, "before_cursor_execute", lambda *arguments: seen.append(arguments[2]))
        assert credentials.authenticate(secret)
    assert len(seen) == 1
    assert re.search(r"WHERE (\w+\.)?tokens\.id =", seen[0])
