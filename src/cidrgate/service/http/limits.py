"""Every limit of the service in one place: how much a request may hold, and how much an answer does.

Those of a submission itself, which the library and the command line meet too, are in `cidrgate.rules.limits`. The table
in docs/service.md has all of them; a test compares the two.
"""

from __future__ import annotations

from typing import Final

from cidrgate.authorize.connections import HEAD_SECONDS, LARGEST_HEAD, MOST_CONNECTIONS, STALL_SECONDS
from cidrgate.rules.account_names import MAX_ACCOUNT_NAME
from cidrgate.rules.limits import LONGEST_LABEL, LONGEST_PIECE, MOST_CONFLICTS

__all__ = [
    "BODY_SECONDS",
    "DEEPEST_JSON",
    "HEAD_SECONDS",
    "LARGEST_BODY",
    "LARGEST_HEAD",
    "LARGEST_PAGE",
    "LARGEST_SIGN_IN",
    "LONGEST_ADDRESS",
    "LONGEST_CURSOR",
    "LONGEST_FORM_LIST",
    "LONGEST_KEY",
    "LONGEST_LABEL",
    "LONGEST_NAME",
    "LONGEST_NUMBER",
    "LONGEST_PIECE",
    "LONGEST_QUERY",
    "MOST_CONFLICTS",
    "MOST_CONNECTIONS",
    "MOST_FIELDS",
    "MOST_HEADERS",
    "MOST_INVALID",
    "MOST_ITEMS",
    "MOST_MEMBERS",
    "MOST_PROBLEMS_TOLD",
    "MOST_SCOPES",
    "STALL_SECONDS",
]

LARGEST_BODY: Final = 1 << 20
"""Bytes of a body, where `Settings.max_body` does not say otherwise."""
LARGEST_SIGN_IN: Final = 1 << 14
"""Bytes of a body that somebody sends who is not known yet."""
BODY_SECONDS: Final = 30.0
"""Seconds a client has to send its body."""

MOST_HEADERS: Final = 100
"""Lines of a request's head."""
LONGEST_QUERY: Final = 8_192
"""Bytes of a query."""
LONGEST_KEY: Final = 255
"""Characters of an `Idempotency-Key`."""
LONGEST_CURSOR: Final = 4_000
"""Characters of a cursor."""
LONGEST_ADDRESS: Final = 100
"""Characters of an address somebody asks about."""
LONGEST_NAME: Final = MAX_ACCOUNT_NAME
"""Characters of the name of an account or a token, which is the actor of its changes."""

DEEPEST_JSON: Final = 16
"""Objects and arrays inside each other."""
MOST_MEMBERS: Final = 100
"""Members of a JSON object."""
LONGEST_NUMBER: Final = 40
"""Characters of a JSON number."""
MOST_SCOPES: Final = 100
"""Scopes of a token."""
MOST_FIELDS: Final = 200
"""Fields of a form."""
LONGEST_FORM_LIST: Final = 100_000
"""Characters of the networks in a form of the console."""

MOST_ITEMS: Final = 1_000
"""Items of a page."""
LARGEST_PAGE: Final = 1 << 20
"""Bytes of a page: it ends earlier where its items are large, after one item at least."""
MOST_PROBLEMS_TOLD: Final = 100
"""Broken rules that an answer lists; the rest is counted."""
MOST_INVALID: Final = 50
"""Members and parameters that cannot be understood and that an answer lists; the rest is counted."""
