"""A WSGI service for gunicorn's `preload_app` and for uWSGI: the lists are opened once, before the workers are forked.

`/?account=acct-1&address=8.8.8.8` answers with the process that asked its matcher, and what that said.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from cidrgate import RuleManager

if TYPE_CHECKING:
    from collections.abc import Callable

if "LISTS" in os.environ:  # else it is only looked at
    age = float(os.environ.get("MAX_STALENESS", "60"))
    lists = RuleManager.open(os.environ["LISTS"], max_staleness=age, on_stale="deny")


def app(environ: dict[str, Any], start_response: Callable[..., object]) -> list[bytes]:
    """Answer a question."""
    asked = parse_qs(environ["QUERY_STRING"])
    allowed = lists.allows(asked["account"][0], asked["address"][0])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {allowed}".encode()]
