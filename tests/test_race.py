"""Many writers in several processes on the same lists: none is ever invalid, nothing is lost, all matchers agree.

`CIDRGATE_RACE_SECONDS` says for how long; `make race` and CI take a minute.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from ipaddress import ip_network
from itertools import combinations
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from tests.change_log import Replay, assert_consistent
from tests.change_stream import ACCOUNTS, MAX_ENTRIES, open_manager
from tests.waiting import eventually

PROCESSES = 2
WRITERS = 16
SECONDS = float(os.environ.get("CIDRGATE_RACE_SECONDS", "8"))

_INVALID = text(
    """
    SELECT count(*) FROM cidrgate.entries a JOIN cidrgate.entries b
    ON a.account_id = b.account_id AND a.id < b.id AND a.cidr && b.cidr
    """
)
_LONG = "SELECT count(*) FROM (SELECT 1 FROM {0}entries GROUP BY account_id HAVING count(*) > {1}) AS long"


def invalid_lists_of_sqlite(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT account_id, cidr FROM entries").fetchall()
        long = connection.execute(_LONG.format("", MAX_ENTRIES)).fetchone()[0]
    pairs = combinations(((account, ip_network(cidr)) for account, cidr in rows), 2)
    overlapping = sum(
        one == other and left.version == right.version and left.overlaps(right) for (one, left), (other, right) in pairs
    )
    return int(overlapping + long)


def invalid_lists_of_postgres(url: str) -> int:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        overlapping = connection.scalar(_INVALID)
        long = connection.scalar(text(_LONG.format("cidrgate.", MAX_ENTRIES)))
    engine.dispose()
    return int(overlapping) + int(long)


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_writers_in_several_processes_never_make_an_invalid_list(
    store: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    path = tmp_path / "lists.db"
    url = f"sqlite:///{path}" if store == "sqlite" else str(request.getfixturevalue("postgres_url"))
    root = Path(__file__).parents[1]
    with open_manager(url) as follower:
        command = [sys.executable, "-m", "tests.race_writers", url]
        racers = [
            subprocess.Popen(
                [*command, f"p{number}", str(WRITERS), str(SECONDS)],
                cwd=root,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(PROCESSES)
        ]
        for racer in racers:
            assert racer.stdout is not None
            done = json.loads(racer.stdout.readline())
            assert len(done) == WRITERS
            assert sum(done) > 0
        assert (invalid_lists_of_sqlite(path) if store == "sqlite" else invalid_lists_of_postgres(url)) == 0
        stored = {account: [entry.cidr for entry in follower.entries(account)] for account in ACCOUNTS}
        for racer in racers:

            def agrees(racer: subprocess.Popen[str] = racer) -> bool:
                assert racer.stdin is not None
                assert racer.stdout is not None
                print(file=racer.stdin, flush=True)
                return bool(json.loads(racer.stdout.readline()) == stored)

            eventually(agrees)
            racer.communicate()
            assert racer.returncode == 0
        eventually(lambda: {account: follower.matcher.prefixes(account) for account in ACCOUNTS} == stored)
        assert_consistent(follower, Replay(MAX_ENTRIES))
