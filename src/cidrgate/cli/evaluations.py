"""Evaluations as a dry run shows them: who would be denied and allowed of those who called, and what is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate.cli.output import Line, Table
from cidrgate.foresight.sentences import network_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cidrgate.foresight.evaluation import AffectedTraffic
    from cidrgate.manager.evaluations import Foresight

__all__ = ["evaluation_lines"]

_MOST_ROWS = 10
"""How many addresses of each kind an answer names; a program gets more."""

_STYLES = {"loss": "red", "gain": "", "same": "", "unknown": "yellow"}


def evaluation_lines(foresight: Foresight) -> Iterator[str | Line | Table]:
    """Yield what a change would do to the requests of the past, for people."""
    for sentence in foresight.sentences():
        traffic = sentence.traffic
        named = traffic is not None and bool(traffic.named)
        yield Line(f"{sentence.text}{':' if named else ''}", _STYLES[sentence.kind])
        if traffic is not None and named:
            yield _table(traffic)
            left = traffic.addresses + traffic.networks - min(_MOST_ROWS, len(traffic.named))
            if left:
                yield f"and {left:,} more"


def _table(traffic: AffectedTraffic) -> Table:
    shown = traffic.named[:_MOST_ROWS]
    columns: tuple[str, ...] = ("address", "account", "requests", "last request (UTC)")
    rows: list[tuple[str, ...]] = [
        (network_text(one.network), one.account, f"{one.requests:,}", f"{one.last_seen:%Y-%m-%d %H:%M:%S}")
        for one in shown
    ]
    return Table(columns, rows, right=frozenset({"requests"}))
