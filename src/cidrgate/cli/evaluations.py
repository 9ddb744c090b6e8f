"""Evaluations as a dry run shows them: who would be denied and allowed of those who called, and what is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate.cli.output import Line, Table, value_text
from cidrgate.errors import UnconfirmedChangeError
from cidrgate.foresight.sentences import network_text
from cidrgate.manager.confirmations import refuse_unconfirmed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from cidrgate.cli.options import Session
    from cidrgate.cli.past_requests import PastRequests
    from cidrgate.foresight.evaluation import AffectedTraffic
    from cidrgate.manager import RuleManager
    from cidrgate.manager.evaluations import Foresight
    from cidrgate.manager.outcomes import Guard, ListOutcome

__all__ = ["evaluation_lines", "refuse_tried"]

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


def refuse_tried(
    session: Session,
    manager: RuleManager,
    past: PastRequests,
    outcomes: Sequence[ListOutcome],
    confirmed: Collection[Guard],
) -> None:
    """Refuse a dry run as the command itself would be, and tell people first what they would confirm.

    A dry run needs no confirmation for itself, but it ends as the command would.

    Args:
        session: The context of the command.
        manager: The lists.
        past: The requests of the past that the dry run evaluates.
        outcomes: The tried changes.
        confirmed: The confirmed guards.

    Raises:
        UnconfirmedChangeError: If a change meets a guard that is not confirmed.
        CidrgateError: If the store or a log cannot be read.
    """
    try:
        for outcome in outcomes:
            refuse_unconfirmed(outcome, None, confirmed)
    except UnconfirmedChangeError:
        if not session.output.json:
            for sentence in past.foresight(session, manager, outcomes).sentences():
                session.output.note(sentence.text)
        raise


def _table(traffic: AffectedTraffic) -> Table:
    shown = traffic.named[:_MOST_ROWS]
    columns: tuple[str, ...] = ("address", "account", "requests", "last request (UTC)")
    rows: list[tuple[str, ...]] = [
        (network_text(one.network), one.account, f"{one.requests:,}", value_text(one.last_seen)) for one in shown
    ]
    return Table(columns, rows, right=frozenset({"requests"}))
