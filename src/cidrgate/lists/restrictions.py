"""Columns and comments of foreign files that may restrict an entry: without them it would allow more than they say.

No list of names that restrict is complete: `gesperrt`, `ttl_seconds` and `port` all do. So a column of an import counts
as one that may restrict, unless all words of its name are known to describe only.
"""

from __future__ import annotations

import re
from functools import lru_cache
from shlex import quote
from typing import Any

from cidrgate.lists.rows import HEADER, quoted

__all__ = [
    "only_describes",
    "problem_of_comment",
    "restricting_field",
    "restricts_by_name",
    "restricts_by_value",
    "way_out",
]

_DESCRIBE = """
    note notes comment comments description descriptions descr desc remark remarks memo info details label labels name
    names title alias tag tags category reason
    id ids uid uuid guid index row line number nr count size hits requests version hash etag checksum
    account accounts customer customers organization organisation org company department team
    owner owners email mail contact phone author creator editor requester vendor provider isp asn
    created updated modified changed edited added inserted imported exported seen used matched
    region country city town province continent location site place office building floor room datacenter timezone
    ticket tickets issue jira reference ref url link href
    project purpose color colour hostname host server device machine
    prefix_length subnet_mask address_count metadata meta properties attributes
"""
_DESCRIBE_MORE = """
    at on by date time timestamp datetime utc first last the of in code full short display internal external key group
    ip ipv4 ipv6 cidr network subnet prefix address entry item record object list range user username tenant
"""

_DESCRIBING = frozenset(_DESCRIBE.split())
"""The words, and a few names of several words, that describe an entry and do not restrict it."""

_BESIDE = frozenset(_DESCRIBE_MORE.split())
"""The words that restrict nothing beside one that describes."""

_WORDS_OF_NAME = re.compile(r"[^\W\d_]+")

_PARTS = re.compile(
    r"expir|valid|until|enabl|disabl|activ|action|den(?:y|ied)|block|status|permi(?:t|ss)|effect|verdict|decision"
    r"|negat|exclu|except|revo[ck]|delet|suspend|reject|forbid|forbidden|quarantine|archived|approv|blacklist|paused"
    r"|not_?(?:after|before)|(?:end|start)(?:s|_?date|_?time|s?_?at)?$"
)
"""Parts of names that mean the same in every name."""

_WORDS = re.compile(
    r"(?<![a-z])(?:types?|states?|access|polic(?:y|ies)|rules?|modes?|kinds?|allow(?:ed)?|bann?(?:ed)?|drop(?:ped)?"
    r"|removed|cancell?ed|retired|pending|verified|not|trust(?:ed)?)(?![a-z])"
)
"""Words that are also parts of names with another meaning."""

_BETWEEN_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[\s.-]+")

_CELL_OF_COMMENT = re.compile(r"[,;|#:=/]")
_AROUND_CELL = "!?.*_~<>()[]{}\"'`- \t"

_VALUE = re.compile(
    r"\s*(?:(?:false|no|off|not|none|drop|dropped|remove|removed|pending|paused|invalid|archived|retired|cancell?ed)\s*$"
    r"|(?:not[ _-](?:allowed|permitted|active|enabled|valid)|den(?:y|ied|ies)|denylist(?:ed)?|block(?:ed|list|listed)?"
    r"|disabled?|inactive|deactivated|revoked?|expired|reject(?:ed)?|forbidden|forbid|prohibited|suspended|deleted"
    r"|excluded?|bann?(?:ed)?|blacklist(?:ed)?|disallow(?:ed)?|refused?|unauthori[sz]ed|terminated|quarantined?"
    r")(?![A-Za-z0-9_]))",
    re.IGNORECASE,
)


@lru_cache(maxsize=1024)
def only_describes(name: str) -> bool:
    """Return whether a column with this name describes entries, and restricts none of them.

    Example:
        >>> [only_describes(name) for name in ("Created at", "ownerEmail", "ticket_2", "created_until", "ttl")]
        [True, True, True, False, False]
    """
    plain = _BETWEEN_WORDS.sub("_", name.strip()).lower()
    if plain in _DESCRIBING:
        return True
    words = _WORDS_OF_NAME.findall(plain)
    return not _DESCRIBING.isdisjoint(words) and _DESCRIBING.union(_BESIDE).issuperset(words)


def restricts_by_name(name: str) -> bool:
    """Return whether a column with this name probably restricts rows, for files whose other columns are measurements.

    Example:
        >>> [restricts_by_name(name) for name in ("Valid until", "isActive", "entry_type", "prototype", "city")]
        [True, True, True, False, False]
    """
    plain = _BETWEEN_WORDS.sub("_", name.strip()).lower()
    return _PARTS.search(plain) is not None or _WORDS.search(plain) is not None


def restricts_by_value(value: str) -> bool:
    """Return whether a value reads as if its entry allows nothing, whatever its column is named.

    Example:
        >>> [restricts_by_value(value) for value in ("deny", "Blocked since May", "FALSE", "allow", "north", "")]
        [True, True, True, False, False, False]
    """
    return _VALUE.match(value) is not None


def problem_of_comment(comment: str) -> str:
    """Return the problem of an entry whose comment does not count, and reads as if the entry allows nothing.

    Args:
        comment: The comment; its parts may be what other programs read as cells.

    Returns:
        The problem; empty if the comment restricts nothing.

    Example:
        >>> [problem_of_comment(comment) != "" for comment in ("deny", "[DISABLED]", "Bern; status=revoked", "Berlin")]
        [True, True, True, False]
    """
    if not any(restricts_by_value(cell.strip(_AROUND_CELL)) for cell in _CELL_OF_COMMENT.split(comment)):
        return ""
    return (
        f"the comment {quoted(comment)} may restrict the entry: remove the line, or remove the comment to import the "
        "entry without it, or say --comments-as-labels to import it as a label"
    )


def restricting_field(
    value: Any, known: frozenset[str], ignored: frozenset[str], path: str = ""
) -> tuple[str, str] | None:
    """Return the path of the first field in a JSON value that may restrict an entry, and why; None if none does.

    Args:
        value: The value.
        known: The paths of the fields that count.
        ignored: The paths of the fields that must not count; all inside of them must not either.
        path: The path of the value.
    """
    if path in known or path in ignored:
        return None
    if isinstance(value, dict):
        for name, inner in value.items():
            below = f"{path}.{name}" if path else name
            if below in known or below in ignored:
                continue
            if not only_describes(name) and not any(one.startswith(f"{below}.") for one in known | ignored):
                return below, "may restrict the entry"
            if found := restricting_field(inner, known, ignored, below):
                return found
    elif isinstance(value, list):
        return next((found for one in value if (found := restricting_field(one, known, ignored, path))), None)
    elif value is False or (isinstance(value, str) and restricts_by_value(value)):
        return path, f"is {'false' if value is False else repr(value[:40])}, so it may restrict the entry"
    return None


def way_out(*names: str, what: str = "the entries") -> str:
    """Return what to do about columns that may restrict entries, with options as a shell takes them.

    Example:
        >>> way_out("valid until").rpartition("or ")[2]
        "--columns 'ignore=valid until' to import the entries without it"
    """
    ignored = quote(f"ignore={'|'.join(names)}")
    if len(names) > 1:
        return (
            f"and are none of {HEADER}: say --columns FIELD=NAME for one that is, or --columns {ignored} to import "
            f"{what} without them"
        )
    return (
        f"and is not one of {HEADER}: say --columns {quote(f'FIELD={names[0]}')} if it is one of them, or --columns "
        f"{ignored} to import {what} without it"
    )
