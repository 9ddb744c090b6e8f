"""All limits of the service: the largest requests and the largest responses.

The limits of a submission also apply to the library and the command line; they are in `cidrgate.rules.limits`. The
table in docs/service.md lists all limits; a test compares the table with this module.
"""

from __future__ import annotations

from typing import Final

from cidrgate.authorize.connections import HEAD_SECONDS, LARGEST_HEAD, MOST_CONNECTIONS, STALL_SECONDS
from cidrgate.rules.account_names import MAX_ACCOUNT_NAME
from cidrgate.rules.limits import LONGEST_LABEL, LONGEST_PIECE, MOST_CONFLICTS

__all__ = [
    "BODY_SECONDS",
    "DEEPEST_JSON",
    "GREATEST_INTEGER",
    "HEAD_SECONDS",
    "LARGEST_BODY",
    "LARGEST_HEAD",
    "LARGEST_PAGE",
    "LARGEST_SIGN_IN",
    "LONGEST_ADDRESS",
    "LONGEST_CURSOR",
    "LONGEST_DATA",
    "LONGEST_FORM_LIST",
    "LONGEST_KEY",
    "LONGEST_LABEL",
    "LONGEST_NAME",
    "LONGEST_NUMBER",
    "LONGEST_PIECE",
    "LONGEST_QUERY",
    "LONGEST_TAGS",
    "MOST_CONFLICTS",
    "MOST_CONNECTIONS",
    "MOST_FIELDS",
    "MOST_HEADERS",
    "MOST_INVALID",
    "MOST_ITEMS",
    "MOST_MEMBERS",
    "MOST_STREAMS",
    "MOST_PROBLEMS_TOLD",
    "MOST_SCOPES",
    "STALL_SECONDS",
]

LARGEST_BODY: Final = 1 << 20
"""Bytes of a body, unless `Settings.max_body` sets another limit."""
LARGEST_SIGN_IN: Final = 1 << 14
"""Bytes of a body from a client that has not logged in yet."""
BODY_SECONDS: Final = 30.0
"""Seconds a client has to send its body."""

MOST_STREAMS: Final = 100
"""Streams of changes that one process serves at a time."""
MOST_HEADERS: Final = 100
"""Lines of a request's head."""
LONGEST_QUERY: Final = 8_192
"""Bytes of a query."""
LONGEST_KEY: Final = 255
"""Characters of an `Idempotency-Key`."""
LONGEST_TAGS: Final = 1_000
"""Characters of an `If-Match`."""
LONGEST_CURSOR: Final = 4_000
"""Characters of a cursor."""
LONGEST_ADDRESS: Final = 100
"""Characters of an address in a check."""
LONGEST_NAME: Final = MAX_ACCOUNT_NAME
"""Characters of the name of an account or a token. The token's name is the actor of its changes."""

DEEPEST_JSON: Final = 16
"""Nesting levels of JSON objects and arrays."""
MOST_MEMBERS: Final = 100
"""Members of a JSON object."""
GREATEST_INTEGER: Final = 2**53 - 1
"""The greatest id, sequence or version. Every reader of JSON can represent the integers up to it (RFC 7493)."""
LONGEST_NUMBER: Final = 40
"""Characters of a JSON number."""
MOST_SCOPES: Final = 100
"""Scopes of a token."""
MOST_FIELDS: Final = 1_100
"""Fields of a form: a recommended list has up to 1,000 entries to choose from."""
LONGEST_FORM_LIST: Final = 100_000
"""Characters of the networks in a form of the console."""

MOST_ITEMS: Final = 1_000
"""Items of a page."""
LARGEST_PAGE: Final = 1 << 20
"""Bytes of a page. A page with large items ends earlier, but has at least one item."""
MOST_PROBLEMS_TOLD: Final = 100
"""Broken rules that a response lists; the rest is counted."""
LONGEST_DATA: Final = 255
"""Characters of a text, and items of a list, in the `data` of a problem; longer ones are left out."""
MOST_INVALID: Final = 50
"""Invalid members and parameters that a response lists; the rest is counted."""
