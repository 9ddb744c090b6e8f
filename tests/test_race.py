"""Many writers in several processes on the same lists: none is ever invalid, nothing is lost, all matchers agree.

`CIDRGATE_RACE_SECONDS` says for how long; `make race` takes a minute for each store.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from ipaddress import ip_network
from pathlib import Path

import psycopg
import pytest

from tests.change_log import Replay, assert_consistent
from tests.change_stream import MAX_ENTRIES, is_quiet, open_manager, served, stored
from tests.waiting import eventually
from tests.warm_starts import Program

PROCESSES = 2
WRITERS = 16
SECONDS = float(os.environ.get("CIDRGATE_RACE_SECONDS", "3"))

_INVALID = {
    "too long": f"SELECT account_id FROM entries GROUP BY account_id HAVING count(*) > {MAX_ENTRIES}",
    "a subaccount's own": "SELECT a.id FROM entries e JOIN accounts a ON e.account_id = a.id WHERE a.parent_id > 0",
    "below a subaccount": "SELECT a.id FROM accounts a JOIN accounts p ON a.parent_id = p.id WHERE p.parent_id > 0",
    "overlapping": "SELECT a.id FROM entries a JOIN entries b ON a.account_id = b.account_id AND a.id < b.id "
    "AND a.cidr && b.cidr",
}


def invalid_lists_of_sqlite(url: str) -> dict[str, list[object]]:
    def overlap(one: str, other: str) -> bool:
        left, right = ip_network(one), ip_network(other)
        return left.version == right.version and left.overlaps(right)

    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        connection.create_function("overlap", 2, overlap)
        statements = {
            kind: sql.replace("a.cidr && b.cidr", "overlap(a.cidr, b.cidr)") for kind, sql in _INVALID.items()
        }
        return {kind: connection.execute(sql).fetchall() for kind, sql in statements.items()}


def invalid_lists_of_postgres(url: str) -> dict[str, list[object]]:
    with psycopg.connect(url, options="-c search_path=cidrgate") as connection:
        return {kind: list(connection.execute(sql)) for kind, sql in _INVALID.items()}


@pytest.mark.parametrize("kind", ["lists", "accounts"])
def test_writers_in_several_processes_never_make_an_invalid_list(shared_store_url: str, kind: str) -> None:
    url = shared_store_url
    root = Path(__file__).parents[1]
    with open_manager(url) as follower:
        command = [sys.executable, "-m", "tests.race_writers", url]
        racers = [
            Program(
                [*command, f"p{number}", str(WRITERS), str(SECONDS), kind],
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
        found = invalid_lists_of_sqlite(url) if url.startswith("sqlite") else invalid_lists_of_postgres(url)
        assert found == {kind: [] for kind in _INVALID}
        eventually(lambda: is_quiet(follower))
        for racer in racers:

            def agrees(racer: subprocess.Popen[str] = racer) -> bool:
                assert racer.stdin is not None
                assert racer.stdout is not None
                print(file=racer.stdin, flush=True)
                return bool(json.loads(racer.stdout.readline()) == stored(follower))

            eventually(agrees)
            racer.communicate()
            assert racer.returncode == 0
        eventually(lambda: served(follower) == stored(follower))
        assert_consistent(follower, Replay(MAX_ENTRIES))
