"""A real authorize endpoint for tests: `cidrgate authorize` on a database of its own."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cidrgate import Policy, RuleManager
from tests.new_stores import copy_of
from tests.servers.running import free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["LISTED", "authorize_endpoint", "database"]

LISTED = {"acct-1": "127.0.0.2/32, 127.0.1.0/24", "acct-2": "127.0.0.3/32"}


def database(folder: Path) -> str:
    """The URL of a database with a list for `acct-1` and `acct-2`, a subaccount `sub-1`, and an account without one."""
    return copy_of(_filled, folder / "lists.db")


def _filled(path: Path) -> None:
    with RuleManager.open(f"sqlite:///{path}", policy=Policy(allow_special=True), create=True, load=False) as manager:
        for account, cidrs in LISTED.items():
            manager.create_account(account)
            manager.add(account, cidrs)
        manager.create_account("sub-1", parent="acct-1")
        manager.create_account("empty")


@contextmanager
def authorize_endpoint(folder: Path, url: str, *options: str) -> Iterator[int]:
    """The port of an endpoint that trusts 127.0.0.1 alone while the block runs."""
    port = free_port()
    unlisted = [] if "--unlisted" in options else ["--unlisted", "allow"]
    command = [sys.executable, "-m", "cidrgate", "-d", url, "authorize", "--port", str(port), *unlisted, *options]
    with running([*command, "--trusted-proxy", "127.0.0.1/32"], folder, port):
        yield port
