"""Plain lists: networks in lines, separated by commas or spaces, with comments."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cidrgate.lists.restrictions import problem_of_comment
from cidrgate.lists.rows import NOT_UTF8, Row, split_comment, undecoded
from cidrgate.rules.notations import meaning_of
from cidrgate.values import NewEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["read_plain_list"]

_BETWEEN = re.compile(r"[,;]")


def read_plain_list(
    lines: Iterable[str], account: str, *, comments_as_labels: bool = False, notes: list[str] | None = None
) -> Iterator[Row]:
    r"""Yield the rows of a plain list.

    A comment that does not become a label, and reads as if the network is denied, is a problem of its row.

    Args:
        lines: The lines. A byte that could not be decoded is a lone surrogate.
        account: The account of every row.
        comments_as_labels: Whether a comment behind a network becomes its label.
        notes: Gets what was left out.

    Example:
        >>> rows = read_plain_list(["# ours\n", "8.8.8.0/24 # dns\n"], "acct-1", comments_as_labels=True)
        >>> [(row.line, row.entry.cidr, row.entry.label) for row in rows]
        [(2, '8.8.8.0/24', 'dns')]
    """
    behind = 0
    for number, line in enumerate(lines, start=1):
        text, comment = split_comment(line.strip("\ufeff \t\r\n"))
        problem = "" if comments_as_labels or not comment else problem_of_comment(comment)
        behind += bool(text and comment and not problem)
        problem = NOT_UTF8 if undecoded(line) else problem
        for network in _networks(text):
            if comment and comments_as_labels and not problem:
                yield Row(number, account, NewEntry(network, label=comment))
            else:
                yield Row(number, account, NewEntry(network), problem)
    if behind and not comments_as_labels and notes is not None:
        what = "comment behind a network" if behind == 1 else "comments behind networks"
        notes.append(f"ignored {behind:,} {what}: --comments-as-labels makes labels of comments")


def _networks(text: str) -> Iterator[str]:
    """Yield the networks of a line. Spaces are between two networks only if both are readable without the other."""
    for piece in _BETWEEN.split(text):
        stripped = piece.strip()
        parts = stripped.split()
        if len(parts) > 1 and meaning_of(stripped) is None and all(map(_is_network, parts)):
            yield from parts
        elif stripped:
            yield stripped


def _is_network(text: str) -> bool:
    # The second part of `9.9.9.0 255.0.255.0` is a mask with a mistake, and no address.
    return meaning_of(text) is not None and text.partition(".")[0] not in {"0", "255"}
