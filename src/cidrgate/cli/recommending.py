"""`cidrgate recommend`: the best list for addresses that were seen, and what it would change in an account's list."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cidrgate._engine import Matcher, PrefixTrie
from cidrgate.cli.address_files import SeenFile, read_addresses
from cidrgate.cli.errors import CommandError
from cidrgate.cli.files import check_written, opened, write_text
from cidrgate.cli.list_attempts import named
from cidrgate.cli.log_options import FromLog, LogOptions, files_of, takes_log
from cidrgate.cli.options import Session, command
from cidrgate.cli.output import Line, Table, counted, value_text
from cidrgate.cli.past_requests import Days, PastRequests
from cidrgate.cli.suggestions import suggested
from cidrgate.errors import CidrgateError, NoTrafficError
from cidrgate.foresight import Observed, Recommendation, narrower, recommend, unused
from cidrgate.foresight.curve_plots import bar, curve_svg
from cidrgate.foresight.evaluation import DecidingNow, Unknown, is_address
from cidrgate.foresight.recommending import truncated_networks
from cidrgate.foresight.sentences import number_text, observed_text, since_text
from cidrgate.manager.evaluations import former_requests
from cidrgate.manager.queries import former_names
from cidrgate.manager.recommendations import past_of_list
from cidrgate.rules import Policy
from cidrgate.rules.networks import addresses_covered
from cidrgate.rules.policy import DEFAULT_POLICY
from cidrgate.serialization import entry_record, narrower_record, recommendation_record, unused_record, utc_text
from cidrgate.values import DETAILS, Account, Entry, Observation

__all__ = ["app"]

app = typer.Typer()

_MOST_SHOWN = 20
"""How many of the addresses that are left out people see; a program gets all."""


@command(app, "recommend")
@takes_log()
def _recommend(
    session: Session,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help="Addresses, one a line, `address,requests`, or a table with a header; - for stdin. Without it, the "
            "recorded traffic of the account, or a log.",
        ),
    ] = None,
    *,
    account: Annotated[
        str | None,
        typer.Option(
            "--account", metavar="ACCOUNT", help="Compare with the list of this account, and keep its policy."
        ),
    ] = None,
    days: Days = None,
    from_log: FromLog = None,
    log: LogOptions,
    force: Annotated[
        list[str] | None,
        typer.Option("--force", metavar="CIDR", help="A network that the list must allow whole; may be repeated."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", metavar="CIDR", help="A network that no entry may overlap; may be repeated."),
    ] = None,
    include_denied: Annotated[
        bool,
        typer.Option(
            "--include-denied",
            help="Cover denied addresses, too: those that the list denies now, or those of denied rows of a FILE.",
        ),
    ] = False,
    curve: Annotated[
        bool, typer.Option("--curve", help="Show how many extra addresses each number of entries has.")
    ] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Write the curve as a picture (SVG); - for stdout.")
    ] = None,
) -> None:
    """Recommend the list of at most --max-entries that covers addresses which were seen and the fewest others."""
    past = PastRequests(days, list(from_log or []), log)
    check_written("--plot", plot, [file, *files_of(past.logs)])
    source = _read(session, file, account, past)
    for note in source.notes:
        session.output.note(note)
    try:
        found = recommend(
            source.observed,
            source.policy,
            **_limits(session),
            forced=_split(force),
            excluded=_split(exclude),
            include_denied=include_denied,
        )
    except CidrgateError:
        raise
    except ValueError as error:
        raise CommandError(str(error)) from error
    if plot is not None:
        write_text(plot, [_picture(found)])
    unknown = (*source.unknown, *truncated_networks(found))
    review = (
        None if source.owner is None else _Review(source, source.owner, found, session.typed_policy.get("max_entries"))
    )
    session.output.answer(
        {
            **recommendation_record(found),
            "unknown": [asdict(one) for one in unknown],
            "notes": list(source.notes),
            **(review.record() if review else {}),
        },
        *_lines(found, source.policy),
        *(Line(f"not known: {one.text}", "yellow") for one in unknown),
        *(_curve(found) if curve else ()),
        *(review.lines() if review else ()),
    )


@dataclass(frozen=True, slots=True)
class _Source:
    """What was seen, and the list that it is compared with.

    Attributes:
        observed: What was seen.
        policy: The limits of the list.
        owner: The account whose list counts; None without one.
        listed: Its entries.
        entries: Those that allow something.
        settled: Those of them that are not too young to be called unused.
        since: The begin of the recorded traffic; None for a file or a log.
        asked_since: The begin of the days that were asked for, for the same.
        where: What was read instead of the recorded traffic.
        unknown: What is not known of the recorded traffic.
        notes: What of a file does not count.
    """

    observed: Observed
    policy: Policy
    owner: Account | None = None
    listed: tuple[Entry, ...] = ()
    entries: tuple[Entry, ...] = ()
    settled: tuple[Entry, ...] = ()
    since: datetime | None = None
    asked_since: datetime | None = None
    where: str = "in the file"
    unknown: tuple[Unknown, ...] = ()
    notes: tuple[str, ...] = ()


def _read(session: Session, file: Path | None, account: str | None, past: PastRequests) -> _Source:
    """Read a file, a log or the recorded traffic of an account, and the list of the account."""
    past.check()
    if file is not None and past.logs:
        raise CommandError("name a FILE of addresses or --from-log, not both")
    if file is not None and past.typed_days is not None:
        raise CommandError("--days is about stored traffic: leave it out, as a FILE is read whole")
    if account is None and past.options.names_account:
        raise CommandError("say with --account for which account the requests of the log count")
    read: SeenFile | None = None
    if file is not None:
        with opened(file) as stream:
            read = read_addresses(stream)
    if account is not None:
        return _of_account(session, account, read, past)
    if read is not None:
        return _Source(read.observed(), session.policy, notes=tuple(read.notes()))
    seen: Observed | None = None
    if past.logs:
        seen = list(past.options.observations(session, past.logs, Matcher(), None))
        if not seen:
            raise NoTrafficError(f"no request is in {', '.join(past.logs)}")
    if seen is None:
        raise CommandError(
            "name a file of addresses, - for stdin, --from-log LOG, or --account ACCOUNT with recorded traffic"
        )
    return _Source(seen, session.policy)


def _of_account(session: Session, account: str, read: SeenFile | None, past: PastRequests) -> _Source:
    now = datetime.now(UTC)
    seen: Observed | None = None
    since = asked_since = None
    settled: tuple[Entry, ...] | None = None
    unknown: tuple[Unknown, ...] = ()
    former: dict[str, str] = {}
    with session.open() as manager:
        owner, entries = manager.listing(account)
        policy = manager.policy_state(account).effective
        names = [owner.name, *(one.name for one in manager.accounts(parent=owner.name))]
        if past.logs:
            with manager._store.read() as transaction:
                former = former_names(transaction, names)
        if read is None and not past.logs:
            # The list decides for its parent and for all subaccounts.
            try:
                recorded = past_of_list(manager._store, account, past.days)
            except NoTrafficError as error:
                raise NoTrafficError(f"{error}, or name a file of addresses or a log (--from-log)") from error
            seen, since, asked_since = recorded.observations, recorded.since, recorded.asked_since
            unknown = recorded.unknown
            settled = recorded.settled
    deciding = DecidingNow(entries, owner, now)
    if past.logs:
        logged = list(past.options.observations(session, past.logs, Matcher(), [*names, *former]))
        seen = deciding.decided(one for one in logged if one.account not in former)
        unknown = tuple(_of_former_names(former, logged))
        if not seen:
            raise NoTrafficError(
                f"no request of account {account!r} is in {', '.join(past.logs)}: see that the options name the column "
                "or the pattern that finds the account" + "".join(f"; not known: {one.text}" for one in unknown)
            )
    allowing = tuple(entry for entry in entries if entry.matches(now))
    if read is not None:
        seen = read.observed(names, deciding)
        if not seen:
            raise NoTrafficError(f"no request in the file is of account {account!r}: see the column 'account'")
    assert seen is not None  # noqa: S101 - it was read above
    notes = [] if read is None else list(read.notes(names, deciding))
    if deciding.is_paused:
        notes.append(f"{owner.name} is paused: its list counts as it does when the pause ends")
    return _Source(
        seen,
        policy,
        owner,
        listed=tuple(entries),
        entries=allowing,
        settled=allowing if settled is None else settled,
        since=since,
        asked_since=asked_since,
        where="in the log" if past.logs else "in the file",
        unknown=unknown,
        notes=tuple(notes),
    )


def _dropped(entries: Iterable[Entry], cidrs: list[str]) -> Iterator[Entry]:
    """Yield the entries of which `replace` by these networks drops a detail: a label, an end, or that it is disabled.

    An entry of which the network stays keeps its details, unless it has expired: then there is a new entry. Other
    expired entries are dropped by every change.
    """
    recommended = PrefixTrie(cidrs)
    kept, now = set(cidrs), datetime.now(UTC)
    for entry in entries:
        if all(getattr(entry, detail.name) == detail.default for detail in DETAILS):
            continue
        if entry.is_expired(now):
            if recommended.covering(entry.cidr) or recommended.covered(entry.cidr):
                yield entry
        elif entry.cidr not in kept:
            yield entry


def _of_former_names(former: Mapping[str, str], logged: Iterable[Observation]) -> Iterator[Unknown]:
    """Yield that requests with former names of accounts do not count."""
    requests: Counter[str] = Counter()
    for one in logged:
        if one.account in former:
            requests[one.account] += one.requests
    if requests:
        text = f"who made {former_requests(former, requests)}, which do not count"
        yield Unknown(code="former_name", text=text)


def _limits(session: Session) -> dict[str, Any]:
    """Return the limits that were typed: with an account, they may be narrower than its policy."""
    return {name: value for name, value in session.typed_policy.items() if name != "allow_special"}


def _split(texts: list[str] | None) -> list[str]:
    return [part.strip() for text in texts or [] for part in text.split(",") if part.strip()]


def _lines(found: Recommendation, policy: Policy) -> Iterator[str | Line | Table]:
    if found.networks:
        columns = ("CIDR", "addresses", "seen", "requests")
        rows = [
            (one.cidr, addresses_covered(one.cidr), f"{one.observed:,}", f"{one.requests:,}") for one in found.networks
        ]
        yield Table(columns, rows, right=frozenset(columns[1:]))
        yield (
            f"{counted(len(found.networks), 'entry covers', 'entries cover')} "
            f"{observed_text(found)} that made "
            f"{counted(found.requests, 'request', 'requests')}"
        )
        yield (
            f"extra addresses, which nobody was seen to use: {number_text(found.extra_ipv4)} of IPv4, "
            f"{number_text(found.extra_ipv6)} of IPv6"
        )
        if found.requests_newly_allowed:
            denied = counted(found.requests_newly_allowed, "denied request", "denied requests")
            yield Line(f"{denied} would be allowed, because an entry covers the address or network", "yellow")
    else:
        yield Line("nothing can be covered: no entry is recommended", "yellow")
    if found.left_out:
        yield Line(
            f"left out: {counted(len(found.left_out), *_left_out_nouns(found))} that made "
            f"{counted(found.requests_left_out, 'request', 'requests')}",
            "yellow",
        )
        columns = ("address", "reason", "requests", "why")
        yield Table(
            columns,
            [(one.network, one.reason, f"{one.requests:,}", one.explanation) for one in found.left_out[:_MOST_SHOWN]],
            right=frozenset({"requests"}),
        )
        if len(found.left_out) > _MOST_SHOWN:
            yield f"and {len(found.left_out) - _MOST_SHOWN:,} more; --json names them all"
        if any(one.reason == "denied" for one in found.left_out):
            yield "--include-denied covers denied addresses, too"
    if wide := policy.wider(found.cidrs):
        yield Line(f"wide: {', '.join(wide)}", "yellow")


def _left_out_nouns(found: Recommendation) -> tuple[str, str]:
    if all("/" not in one.network or is_address(one.network) for one in found.left_out):
        return "address", "addresses"
    return "network", "networks"


def _curve(found: Recommendation) -> Iterator[Table]:
    columns = ("entries", "extra IPv4", "extra IPv6", "")
    rows = [
        (
            f"{point.entries}",
            number_text(point.extra_ipv4),
            number_text(point.extra_ipv6),
            bar(point, found.curve) + (" recommended" if point.entries == len(found.networks) else ""),
        )
        for point in found.curve
    ]
    yield Table(columns, rows, right=frozenset(columns[:3]))


def _picture(found: Recommendation) -> str:
    if not found.curve:
        raise CommandError("nothing can be covered, so there is no curve to plot")
    return curve_svg(found.curve, len(found.networks), f"The best list for {observed_text(found)}")


class _Review:
    """What a recommendation says of the list of an account.

    Args:
        source: What was seen, and the list.
        owner: The account whose list counts.
        found: The recommendation.
        most: The limit of entries that was typed; None if none was.
    """

    def __init__(self, source: _Source, owner: Account, found: Recommendation, most: int | None) -> None:
        self._owner = owner
        self._most = most
        self._since = source.since
        self._unknown = source.unknown
        self._where = source.where
        self._cidrs = found.cidrs
        self._same = {entry.cidr for entry in source.entries} == set(found.cidrs)
        self._dropped = [] if self._same else list(_dropped(source.listed, found.cidrs))
        self._disabled = not {entry.cidr for entry in source.listed if not entry.enabled}.isdisjoint(found.cidrs)
        self._unused = unused(source.settled, source.observed, source.asked_since)
        self._narrower = narrower(source.entries, source.observed, source.asked_since)
        self._keeps_some = len(self._unused) < len(source.entries)

    def record(self) -> dict[str, Any]:
        """Return its members of the JSON object."""
        return {
            "account": self._owner.name,
            "version": self._owner.version,
            "since": None if self._since is None else utc_text(self._since),
            "unused": [unused_record(one) for one in self._unused],
            "narrower": [narrower_record(one) for one in self._narrower],
            "commands": self._commands(),
            "details_dropped": [entry_record(entry) for entry in self._dropped],
        }

    def lines(self) -> Iterator[str | Line | Table]:
        """Yield what people read."""
        name = self._owner.name
        when = self._where if self._since is None else since_text(self._since, self._unknown)
        if self._unused:
            never = "" if self._since is None else "never"
            rows = [
                (f"{one.entry.id}", one.entry.cidr, one.entry.label or "", value_text(one.last_seen) or never)
                for one in self._unused
            ]
            yield f"unused {when}:"
            yield Table(("id", "CIDR", "label", "last seen (UTC)"), rows, right=frozenset({"id"}))
        if self._narrower:
            yield "narrower would do:"
            yield Table(
                ("id", "CIDR", "narrower", "fewer addresses", "seen"),
                [
                    (f"{one.entry.id}", one.entry.cidr, one.cidr, number_text(one.fewer), f"{one.observed:,}")
                    for one in self._narrower
                ],
                right=frozenset({"id", "fewer addresses", "seen"}),
            )
        if self._same:
            yield f"the list of {name} is the recommended one"
        elif commands := self._commands():
            yield f"to change the list of {name}, one of:"
            yield from (f"  {line}" for line in commands)
            if self._dropped:
                yield Line(
                    "replace does not keep what these entries say; give new entries a label or an end with edit:",
                    "yellow",
                )
                yield from (f"  {named(entry)}" for entry in self._dropped)

    def _commands(self) -> list[str]:
        """Return commands that would change the list: to the recommended one, or entry by entry."""
        commands = []
        if self._cidrs and not self._same:
            limit = []
            if self._most is not None and len(self._cidrs) > DEFAULT_POLICY.max_entries:
                limit = ["--max-entries", f"{self._most}"]
            # An entry of which the network stays would stay disabled.
            enabled = ["--enabled"] if self._disabled else []
            options = ["--expect-version", f"{self._owner.version}", *enabled, *limit]
            commands.append(self._command("replace", self._cidrs, options))
        if self._unused and self._keeps_some:
            commands.append(self._command("remove", [one.entry.cidr for one in self._unused]))
        commands += [self._command("edit", [one.entry.cidr, one.cidr]) for one in self._narrower]
        return commands

    def _command(self, command: str, cidrs: Sequence[str], options: Sequence[str] = ()) -> str:
        return suggested(command, self._owner.name, *cidrs, options=options)
