"""`cidrgate mode`, `pause` and `resume`: whether a list is enforced, only reports, or is paused, and until when."""

from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Annotated

import typer

from cidrgate.cli.arguments import AccountName, Confirmed, DryRun, Version
from cidrgate.cli.durations import moment, moment_after
from cidrgate.cli.errors import CommandError
from cidrgate.cli.evaluations import evaluation_lines, refuse_tried
from cidrgate.cli.list_attempts import list_warning
from cidrgate.cli.options import Session, command
from cidrgate.cli.output import DRY
from cidrgate.cli.past_requests import PastRequests, takes_past_requests
from cidrgate.manager import RuleManager
from cidrgate.manager.outcomes import Guard, ListOutcome
from cidrgate.rules.decisions import list_state
from cidrgate.serialization import account_record
from cidrgate.values import MODES, Account

__all__ = ["app"]

app = typer.Typer()

_For = Annotated[str | None, typer.Option("--for", metavar="DURATION", help="For how long: 30m, 12h or 90d.")]
_Until = Annotated[
    str | None, typer.Option("--until", metavar="TIME", help="Until when: a time such as 2027-01-31T18:00+00:00.")
]
_Reason = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why, for the people who see it.")]


@command(app, "mode")
@takes_past_requests
def _mode(
    session: Session,
    account: AccountName,
    mode: Annotated[str, typer.Argument(metavar="|".join(MODES), help="What happens to addresses not listed.")],
    *,
    length: _For = None,
    until: _Until = None,
    reason: _Reason = None,
    closed: Annotated[
        bool | None,
        typer.Option(
            "--closed/--not-closed", help="Whether the list is enforced even while it is empty.", show_default=False
        ),
    ] = None,
    expect_version: Version = None,
    confirm: Confirmed = None,
    dry_run: DryRun = False,
    past: PastRequests,
) -> None:
    """Set how a list decides: enforce denies what is not listed, report_only allows and reports it, off allows it."""
    found = next((one for one in MODES if one == mode), None)
    if found is None:
        raise CommandError(f"{mode!r} is not a mode: write {', '.join(MODES[:-1])} or {MODES[-1]}")
    end = _end(length, until)
    _set(
        session,
        account,
        lambda manager: manager.set_mode(
            account,
            found,
            until=end,
            reason=reason,
            closed=closed,
            actor=session.actor,
            expect_version=expect_version,
            confirmed=confirm or (),
        ),
        confirm,
        past if dry_run else None,
    )


@command(app, "pause")
@takes_past_requests
def _pause(
    session: Session,
    account: AccountName,
    *,
    length: _For = None,
    until: _Until = None,
    reason: _Reason = None,
    expect_version: Version = None,
    confirm: Confirmed = None,
    dry_run: DryRun = False,
    past: PastRequests,
) -> None:
    """Allow every address of an account for a time. Enforcement begins again on every node when the time is over."""
    end = _end(length, until)
    if end is None:
        raise CommandError(
            "say how long with --for, such as --for 1h, or --until; to stop enforcing without an end: "
            "`cidrgate mode ACCOUNT off`"
        )
    _set(
        session,
        account,
        lambda manager: manager.pause(
            account,
            until=end,
            reason=reason,
            actor=session.actor,
            expect_version=expect_version,
            confirmed=confirm or (),
        ),
        confirm,
        past if dry_run else None,
    )


@command(app, "resume")
@takes_past_requests
def _resume(
    session: Session,
    account: AccountName,
    *,
    expect_version: Version = None,
    confirm: Confirmed = None,
    dry_run: DryRun = False,
    past: PastRequests,
) -> None:
    """Enforce a list again, after `pause` or `mode`."""
    _set(
        session,
        account,
        lambda manager: manager.resume(
            account, actor=session.actor, expect_version=expect_version, confirmed=confirm or ()
        ),
        confirm,
        past if dry_run else None,
    )


def _end(length: str | None, until: str | None) -> datetime | None:
    """Return the time that one of the two options means."""
    if length is not None and until is not None:
        raise CommandError("give --for or --until, not both")
    if length is not None:
        return moment_after(length)
    return None if until is None else moment(until)


def _set(
    session: Session,
    account: str,
    change: Callable[[RuleManager], Account],
    confirm: Collection[Guard] | None,
    past: PastRequests | None,
) -> None:
    """Make the change, or evaluate it for requests of the past, and answer with the account as it is then."""
    dry_run = past is not None
    outcomes: list[ListOutcome] = []
    with session.open() as manager:
        change(manager.with_hooks(before_store=outcomes.append, dry_run=dry_run))
        outcome = outcomes[-1]
        foresight = None
        if past is not None:
            refuse_tried(session, manager, past, [outcome], confirm or ())
            foresight = past.foresight(session, manager, [outcome])
    state = list_state(outcome.after, outcome.account, datetime.now(UTC))
    record = account_record(outcome.account, state)
    sentence = f"{account} {'would have' if dry_run else 'has'} the mode {state.mode}"
    if outcome.account.version == outcome.account_before.version:
        sentence += ", as before"
    if foresight is not None:
        record |= {"dry_run": True, **foresight.record()}
        session.output.answer(record, sentence, *evaluation_lines(foresight), DRY)
    else:
        session.output.answer(record, sentence, *list_warning(account, state))
