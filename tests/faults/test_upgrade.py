"""A rolling upgrade of the schema: nodes of the version before it write while it is migrated, and after that.

This cidrgate is the old one. The new one is the same, except that it takes itself for the one of a later revision,
which this test makes: it adds a column, and lists match as before. What a node does after a revision that changes what
lists match is in `tests/replica/test_outgrown_stores.py`.
"""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import create_engine, text

from cidrgate import RuleManager, StoreError
from cidrgate.service.auth.credentials import Credentials
from cidrgate.stores import migrations
from cidrgate.stores.migrations import HEAD
from tests.faults.invariants import ACCOUNTS, ROUNDS, Ledger, check, no_stranger, prepare, report, writers
from tests.faults.written_elsewhere import command_of, writer_process
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Engine

_NUMBER, _, _FORM = HEAD.partition(".")
NEXT = f"{int(_NUMBER) + 1:04}.{_FORM}"
"""The later revision."""

SESSION = text(
    "INSERT INTO sessions (secret_hash, name, scopes, created_at, expires_at)"
    " VALUES (:secret, 'signed in on an old node', '[\"admin\"]', :now, :later)"
)
"""As an old node writes it, which knows no other column."""


def engine_of(url: str) -> Engine:
    """For statements on a store's own tables."""
    arguments: dict[str, Any] = {}
    if url.startswith("postgresql"):
        url = url.replace("postgresql://", "postgresql+psycopg://")
        arguments["options"] = "-c search_path=cidrgate,public"
    return create_engine(url, connect_args=arguments)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store with enforced accounts."""
    if request.param == "sqlite":
        made = f"sqlite:///{tmp_path}/lists.db"
    else:
        made = request.getfixturevalue("shared_postgres_server").new_database(template="template1")
    prepare(made)
    return made


def sign_in(url: str, secret: str) -> None:
    """Do so on an old node."""
    now = datetime.now(UTC)
    times = {"now": now, "later": now + timedelta(hours=1)}
    if url.startswith("sqlite"):
        times = {name: at.isoformat(timespec="microseconds") for name, at in times.items()}  # type: ignore[misc]
    engine = engine_of(url)
    with engine.begin() as connection:
        connection.execute(SESSION, {"secret": secret, **times})
    engine.dispose()


def migrate(url: str) -> None:
    """Bring the tables to the later revision, in one transaction."""
    engine = engine_of(url)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE accounts ADD COLUMN known_later text"))
        connection.execute(text("UPDATE alembic_version SET version_num = :later"), {"later": NEXT})
    engine.dispose()


def refusal(url: str) -> str:
    """What an old node says that is started now."""
    done = subprocess.run(
        command_of(url, "late", HEAD), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    return done.stderr


@pytest.mark.fault("the schema is upgraded while nodes of the version before it write")
def test_old_nodes_write_while_the_schema_is_upgraded(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They go on, and are followed by the new ones and follow them; what is started later is of the new version."""
    ledger = Ledger()
    with ExitStack() as stack:
        old = [stack.enter_context(writer_process(url, ledger, f"old{number}", revision=HEAD)) for number in range(2)]
        ledger.wait_for_more(20)
        sign_in(url, "before")
        monkeypatch.setattr(migrations, "HEAD", NEXT)
        if url.startswith("postgresql"):
            with pytest.raises(StoreError, match="run `cidrgate migrate`"):
                RuleManager.open(url)
            ledger.wait_for_more(20)
        migrate(url)
        ledger.wait_for_more(20)
        with RuleManager.open(url) as one, RuleManager.open(url) as other:
            with no_stranger(ledger, one, other), writers(ledger, [one, other]):
                ledger.wait_for_more(20 * ROUNDS)
                sign_in(url, "after")
                assert "upgrade cidrgate" in refusal(url)
                ledger.wait_for_more(20)
            for writer in old:
                writer.rest()
            lists = {account: [entry.cidr for entry in one.entries(account)] for account in ACCOUNTS}
            eventually(lambda: all(writer.serves(lists) for writer in old), pause=0.1)
            stack.close()
            check(url, ledger, [one, other])
            known = Credentials(one._store)
            assert [session.name for session in known.sessions()] == ["signed in on an old node"] * 2
            assert known.end_all_sessions() == 2
    by_old = sum(label.startswith("old") for label in ledger.acknowledged)
    report(
        f"{url.partition(':')[0]}, schema {HEAD} to {NEXT} with old nodes writing",
        ledger,
        by_old_nodes=by_old,
    )
    assert not ledger.unknown
