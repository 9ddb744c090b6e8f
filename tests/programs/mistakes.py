"""Mistakes that a type checker finds: an ignored one that it accepts is an error."""

from typing import assert_type

from aiohttp import web

from cidrgate import RuleManager, Verdict
from cidrgate.client import Client
from cidrgate.gate import Unknown  # type: ignore[attr-defined] # noqa: F401
from cidrgate.middleware.aiohttp import VERDICT
from cidrgate.replay import Missing  # type: ignore[attr-defined] # noqa: F401
from cidrgate.service import ServiceSettings  # type: ignore[attr-defined] # noqa: F401
from cidrgate.stores import Table  # type: ignore[attr-defined] # noqa: F401


def confirm(manager: RuleManager, client: Client) -> None:
    """Confirm by names that no guard has, and by a text instead of a collection."""
    manager.add("acct-1", "8.0.0.0/8", confirmed=["wide_entry"])
    manager.add("acct-1", "8.0.0.0/8", confirmed=["wide_netry"])  # type: ignore[list-item]
    manager.add("acct-1", "8.0.0.0/8", confirmed="wide_entry")  # type: ignore[arg-type]
    client.add_entries("acct-1", "8.0.0.0/8", confirm=["wide_entry"])
    client.add_entries("acct-1", "8.0.0.0/8", confirm=["wide_netry"])  # type: ignore[list-item]
    client.add_entries("acct-1", "8.0.0.0/8", confirm="wide_entry")  # type: ignore[arg-type]


def handle(request: web.Request) -> None:
    """Read the verdict, and a member that it does not have."""
    assert_type(request[VERDICT], Verdict)
    request[VERDICT].allow  # type: ignore[attr-defined] # noqa: B018
