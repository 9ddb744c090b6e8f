"""Pages that answer questions: whether an address or a network is allowed and why, and how a list has changed."""

from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Query, Request, Response

from cidrgate._engine import canonical_prefix
from cidrgate.errors import InvalidAddressError
from cidrgate.manager.previews import networks_without
from cidrgate.rules.decisions import decide
from cidrgate.rules.format_hints import format_hint
from cidrgate.service.console.lists import AccountQuery, view_of
from cidrgate.service.console.messages import sentence
from cidrgate.service.console.pages import page
from cidrgate.service.console.sessions import SignedIn
from cidrgate.service.http.integers import PLAIN
from cidrgate.service.http.pagination import a_page
from cidrgate.service.http.strict_requests import ConsoleRoute
from cidrgate.service.settings import service_of
from cidrgate.values import Entry

__all__ = ["router"]

router = APIRouter(route_class=ConsoleRoute)

_A_PAGE = 25


@router.get("/test")
def address_page(
    request: Request,
    person: SignedIn,
    account: AccountQuery,
    address: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """Show whether an address, or each address of a network, may call for an account, and why."""
    view = view_of(request, person, account)
    asked = address.strip()
    decision = network = hint = None
    if "/" in asked:
        network = _network_answer(view.entries, asked, enforced=view.standing.enforced)
    elif asked:
        decision = decide(view.owner, view.entries, asked, datetime.now(UTC))
    if asked and network is None and (decision is None or decision.reason == "invalid_address"):
        hint = format_hint(asked)
    return page(
        request,
        "test.html",
        person=person,
        view=view,
        tab="test",
        address=asked,
        decision=decision,
        network=network,
        hint=None if hint is None else sentence(str(hint)),
        meant=[] if hint is None else [one for alternative in hint.alternatives for one in alternative.networks],
    )


class _NetworkAnswer(NamedTuple):
    """Which addresses of a network are allowed.

    Attributes:
        cidr: The network.
        enforced: Whether the addresses that no entry covers are denied.
        matching: The entries that cover the network, or a part of it.
        uncovered: The networks in it that no entry covers.
    """

    cidr: str
    enforced: bool
    matching: list[Entry]
    uncovered: list[str]

    @property
    def verdict(self) -> str:
        """Return `all`, `some` or `none`: which addresses are allowed."""
        if not self.enforced or not self.uncovered:
            return "all"
        return "some" if self.matching else "none"


def _network_answer(entries: Sequence[Entry], asked: str, *, enforced: bool) -> _NetworkAnswer | None:
    """Return which addresses of a network a list allows; None if the text is not a network."""
    try:
        cidr = canonical_prefix(asked)
    except InvalidAddressError:
        return None
    network, now = ip_network(cidr), datetime.now(UTC)
    matching = [entry for entry in entries if entry.matches(now) and _overlap(entry.network, network)]
    uncovered = networks_without([cidr], [entry.cidr for entry in matching])
    return _NetworkAnswer(cidr, enforced, matching, uncovered)


def _overlap(one: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    return one.version == other.version and one.overlaps(other)


@router.get("/history")
def history_page(
    request: Request,
    person: SignedIn,
    account: AccountQuery,
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1), PLAIN] = None,
) -> Response:
    """Show the history of a list, the newest change first."""
    view = view_of(request, person, account)
    changes = []
    if view.owner_visible:
        changes = service_of(request).manager.history(view.owner.name, limit=_A_PAGE + 1, before=before)
    shown, last = a_page(changes, _A_PAGE)
    return page(
        request,
        "history.html",
        person=person,
        view=view,
        changes=shown,
        before=before,
        more=None if last is None else last.sequence,
        tab="history",
    )
