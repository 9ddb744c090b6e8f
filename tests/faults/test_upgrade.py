"""A rolling upgrade of the schema: nodes of the version before it write while it is migrated, and after that.

`CIDRGATE_OLD_TREE` names the source of an older cidrgate, its engine built in place, which then writes in its own form;
`CIDRGATE_OLD_REVISION` says for which schema it was made. Without it this cidrgate takes itself for the one before:
what writes and follows lists touches none of what the last revision added.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
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

TREE = os.environ.get("CIDRGATE_OLD_TREE")
BEFORE = os.environ.get("CIDRGATE_OLD_REVISION", f"{int(HEAD) - 1:04}")

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
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A store of the revision before, with enforced accounts."""
    if request.param == "sqlite":
        made = f"sqlite:///{tmp_path}/lists.db"
    else:
        made = request.getfixturevalue("shared_postgres_server").new_database(template="template1")
    upgrade = command.upgrade
    with monkeypatch.context() as then:
        then.setattr(migrations, "HEAD", BEFORE)
        then.setattr(command, "upgrade", lambda config, _revision: upgrade(config, BEFORE))
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
    """Bring the tables up to date as an administrator does."""
    done = subprocess.run(
        [sys.executable, "-m", "cidrgate", "-d", url, "migrate"], capture_output=True, text=True, check=False
    )
    assert f"migrated the tables from version {BEFORE} to {HEAD}" in done.stdout, done.stderr


def refusal(url: str) -> str:
    """What an old node says that is started now."""
    environment = os.environ | ({} if TREE is None else {"PYTHONPATH": f"{TREE}/src"})
    done = subprocess.run(
        command_of(url, "late", BEFORE),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert done.returncode == 1
    return done.stderr


@pytest.mark.fault("the schema is upgraded while nodes of the version before it write")
def test_old_nodes_write_while_the_schema_is_upgraded(url: str) -> None:
    """They go on, and are followed by the new ones and follow them; what is started later is of the new version."""
    ledger = Ledger()
    with ExitStack() as stack:
        old = [
            stack.enter_context(writer_process(url, ledger, f"old{number}", revision=BEFORE, tree=TREE))
            for number in range(2)
        ]
        ledger.wait_for_more(20)
        sign_in(url, "before")
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
        f"{url.partition(':')[0]}, schema {BEFORE} to {HEAD} with old nodes writing",
        ledger,
        by_old_nodes=by_old,
        tree=TREE,
    )
    assert not ledger.unknown
