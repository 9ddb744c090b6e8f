"""Checks of one address: `check` for scripts, `explain` for people."""

from ipaddress import ip_address, ip_network
from typing import Annotated

import typer

from cidrgate.cli.arguments import AccountName
from cidrgate.cli.exit_statuses import ExitStatus
from cidrgate.cli.options import Session, command
from cidrgate.cli.output import Line, value_text
from cidrgate.cli.suggestions import suggested
from cidrgate.rules import special_block
from cidrgate.rules.networks import prefix_length
from cidrgate.serialization import decision_record
from cidrgate.stores.urls import redacted_message
from cidrgate.values import Decision, Entry

__all__ = ["app", "shared_bits"]

app = typer.Typer()

_Address = Annotated[str, typer.Argument(metavar="IP", help="The client address.")]


@command(app, "check", failure=ExitStatus.ERROR)
def _check(session: Session, account: AccountName, address: _Address) -> None:
    """Check whether an address may act for an account: exit status 0 if it may, 1 if not, 2 on every error."""
    decision = _decide(session, account, address)
    session.output.answer(decision_record(account, address, decision), _verdict(address, account, decision))
    if not decision.allowed:
        raise typer.Exit(int(ExitStatus.DENIED))


@command(app, "explain")
def _explain(session: Session, account: AccountName, address: _Address) -> None:
    """Explain why an address may act for an account, or why not."""
    decision = _decide(session, account, address)
    lines: list[str | Line] = [_verdict(address, account, decision)]
    if decision.account != account:
        lines.append(f"{account} is a subaccount: the list of {decision.account} decides")
    match decision.reason:
        case "matched" if decision.entry is not None:
            lines.append(_added(decision.entry))
        case "not_enforced" if decision.mode == "enforce":
            lines.append("enforcement starts with the first entry")
        case "invalid_address":
            lines.append("write an address such as 8.8.8.8 or 2606:4700::1, without a length or a zone")
        case "not_listed":
            lines += _nearest(decision.nearest, address)
            lines.append(_way_in(decision, address, allow_special=_allows_special(session, account)))
    if decision.mode != "enforce":
        lines.append(f"to enforce the list again: {suggested('resume', decision.account)}")
    session.output.answer(decision_record(account, address, decision), *lines)


def shared_bits(cidr: str, address: str) -> int:
    """Return the number of leading bits that a network and an address have in common.

    Args:
        cidr: A canonical network.
        address: An address of its family; IPv4-mapped counts as IPv4.

    Example:
        >>> shared_bits("8.8.8.0/24", "8.8.9.1"), shared_bits("8.8.8.0/24", "::ffff:8.8.9.1")
        (23, 23)
    """
    network = ip_network(cidr)
    differing = int(network.network_address) ^ int(ip_address(_unmapped(address)))
    return min(network.prefixlen, network.max_prefixlen - differing.bit_length())


def _decide(session: Session, account: str, address: str) -> Decision:
    with session.open() as manager:
        manager.account(account)
        return manager.explain(account, address)


def _allows_special(session: Session, account: str) -> bool:
    with session.open() as manager:
        return manager.policy_state(account).effective.allow_special


def _verdict(address: str, account: str, decision: Decision) -> Line:
    because = {
        "matched": f"is in {decision.entry.cidr}" if decision.entry else "is listed",
        "not_listed": f"is in no entry of {decision.account}",
        "not_enforced": f"may call: {decision.account} {_WHY_OPEN[decision.mode]}",
        "invalid_address": "is not an IP address",
    }
    answer = "allowed" if decision.allowed else "denied"
    if decision.allowed and decision.reason == "not_listed":
        because["not_listed"] += ", and would be denied if the list did not only report"
    reason = f"{decision.reason}: {address} {because[decision.reason]}"
    return Line(redacted_message(f"{answer} for {account}: {reason}"), "green" if decision.allowed else "red")


_WHY_OPEN = {
    "enforce": "has no entries and is not enforced",
    "report_only": "has no entries and is not enforced",
    "off": "is paused",
}


def _added(entry: Entry) -> str:
    label = f" ({entry.label})" if entry.label else ""
    by = f" by {entry.created_by}" if entry.created_by else ""
    return f"{entry.cidr}{label} is entry {entry.id}, added at {value_text(entry.created_at)} UTC{by}"


def _nearest(nearest: Entry | None, address: str) -> list[str]:
    """Describe the nearest entry, in bits: an entry that is one bit off is probably a typing error."""
    if nearest is None:
        family = "IPv6" if ":" in _unmapped(address) else "IPv4"
        return [f"no {family} entry is listed"]
    label = f" ({nearest.label})" if nearest.label else ""
    agreeing = shared_bits(nearest.cidr, address)
    return [f"nearest entry: {nearest.cidr}{label}: {agreeing} of its {prefix_length(nearest.cidr)} bits agree"]


def _way_in(decision: Decision, address: str, *, allow_special: bool) -> str:
    host = str(ip_network(_unmapped(address)))
    block = None if allow_special else special_block(host)
    if block is not None:
        return f"it cannot be listed: {block.cidr} is {block.name} ({block.rfc})"
    verb = "list" if decision.allowed else "allow"
    return f"to {verb} it: {suggested('add', decision.account, host)}"


def _unmapped(address: str) -> str:
    """Return the canonical text of an address, an IPv4-mapped address as IPv4."""
    parsed = ip_address(address)
    mapped = parsed.ipv4_mapped if parsed.version == 6 else None
    return str(mapped or parsed)
