"""Commands that change one account's list: `add`, `edit`, `remove`, `replace`, `restore`, `undo`; also as dry runs."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated

import typer

from cidrgate.cli.arguments import (
    AccountName,
    Cidrs,
    Confirmed,
    DryRun,
    Empty,
    EntryId,
    EntryIds,
    EntryNames,
    Version,
    named_entries,
)
from cidrgate.cli.details import DETAIL_OPTIONS, takes_details
from cidrgate.cli.errors import CommandError
from cidrgate.cli.files import read_text
from cidrgate.cli.list_attempts import answer_change, attempted
from cidrgate.cli.lists import app, entry_app
from cidrgate.cli.options import Session, command
from cidrgate.cli.past_requests import PastRequests, takes_past_requests
from cidrgate.errors import AccountExistsError, AccountNotFoundError, StoreError, after_commits
from cidrgate.manager import RuleManager
from cidrgate.rules import split_submission
from cidrgate.values import EntryDetails, EntryEdit, ListChange

__all__ = ["app", "entry_app"]


@command(entry_app, "add")
@command(app, "add", short_for="entry add")
@takes_details("add")
@takes_past_requests
def _add(
    session: Session,
    account: AccountName,
    cidrs: Cidrs,
    *,
    details: EntryDetails,
    expect_version: Version = None,
    if_missing: Annotated[
        bool,
        typer.Option("--if-missing", help="Leave out networks whose addresses the list allows already, and as long."),
    ] = False,
    create: Annotated[bool, typer.Option("--create", help="Create the account if it does not exist.")] = False,
    confirm: Confirmed = None,
    dry_run: DryRun = False,
    past: PastRequests,
) -> None:
    """Add networks to a list: all of them, or none if one breaks a rule."""

    def add(lists: RuleManager) -> ListChange:
        return lists.add(
            account, cidrs, actor=session.actor, expect_version=expect_version, if_missing=if_missing, **details
        )

    with session.open(create=create, dry_run=dry_run) as opened, ExitStack() as stack:
        manager = opened
        if create:
            trial = None if dry_run else lambda lists: add(lists.with_hooks(confirmed=confirm or ()))
            manager = _with_account(opened, account, trial, session, stack)
        without = None if manager is opened else opened
        attempt = attempted(
            manager, add, dry_run=dry_run, past=past, session=session, confirm=confirm, without_account=without
        )
    answer_change(session, attempt)


@command(entry_app, "edit")
@command(app, "edit", short_for="entry edit")
@takes_details("edit")
@takes_past_requests
def _edit(
    session: Session,
    account: AccountName,
    cidrs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CIDR] [NEW]", help="The entry, unless --id names it; then its new network."),
    ] = None,
    *,
    entry_id: EntryId = None,
    details: EntryDetails,
    expect_version: Version = None,
    confirm: Confirmed = None,
    dry_run: DryRun = False,
    past: PastRequests,
) -> None:
    """Change the network or the details of an entry; its id stays the same."""
    typed = list(cidrs or [])
    [which] = named_entries(typed[:1], None) if entry_id is None else [entry_id]
    new = typed[1:] if entry_id is None else typed
    if len(new) > 1:
        raise CommandError(f"an entry has one network: {new[1]!r} is one argument too many")
    edit = EntryEdit(cidr=new[0] if new else ..., **details)
    if not edit.changes():
        flags = [option.flags[0] for options in DETAIL_OPTIONS.values() for option in options]
        raise CommandError(f"nothing to change: give the new network, {' or '.join(flags)}")
    with session.open() as manager:
        attempt = attempted(
            manager,
            lambda lists: lists.edit(account, which, edit, actor=session.actor, expect_version=expect_version),
            dry_run=dry_run,
            past=past,
            session=session,
            confirm=confirm,
        )
    answer_change(session, attempt)


@command(entry_app, "remove")
@command(app, "remove", short_for="entry remove")
@takes_past_requests
def _remove(
    session: Session,
    account: AccountName,
    cidrs: EntryNames = None,
    *,
    entry_ids: EntryIds = None,
    expect_version: Version = None,
    empty: Empty = False,
    confirm: Confirmed = None,
    dry_run: DryRun = False,
    past: PastRequests,
) -> None:
    """Remove entries: all of them, or none if one is not in the list."""
    which = named_entries(cidrs, entry_ids)
    with session.open() as manager:
        attempt = attempted(
            manager,
            lambda lists: lists.remove(
                account, *which, actor=session.actor, expect_version=expect_version, allow_empty=empty
            ),
            dry_run=dry_run,
            past=past,
            session=session,
            confirm=confirm,
            empty=empty,
        )
    answer_change(session, attempt)


@command(entry_app, "replace")
@command(app, "replace", short_for="entry replace")
@takes_details("replace")
@takes_past_requests
def _replace(
    session: Session,
    account: AccountName,
    cidrs: Annotated[list[str] | None, typer.Argument(metavar="[CIDR...]", help="The whole list.")] = None,
    *,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="A file with the whole list; - for stdin.")] = None,
    details: EntryDetails,
    expect_version: Version = None,
    empty: Empty = False,
    confirm: Confirmed = None,
    dry_run: DryRun = False,
    past: PastRequests,
) -> None:
    """Replace the whole list in one change; entries that stay keep their id, and each detail that is not given."""
    if cidrs and file:
        raise CommandError("give the networks or a --file that contains them, not both")
    pieces = split_submission(read_text(file) if file else cidrs or [])
    with session.open() as manager:
        attempt = attempted(
            manager,
            lambda lists: lists.replace(
                account,
                pieces,
                actor=session.actor,
                expect_version=expect_version,
                allow_empty=empty,
                **details,
            ),
            dry_run=dry_run,
            past=past,
            session=session,
            confirm=confirm,
            empty=empty,
        )
    answer_change(session, attempt)


@command(app, "restore")
@takes_past_requests
def _restore(
    session: Session,
    account: AccountName,
    *,
    to_sequence: Annotated[
        int, typer.Option("--to-sequence", metavar="SEQUENCE", min=0, help="The change after which the list was so.")
    ],
    expect_version: Version = None,
    empty: Empty = False,
    confirm: Confirmed = None,
    dry_run: DryRun = False,
    past: PastRequests,
) -> None:
    """Restore the list as it was after a change (see `cidrgate history`), checked by the current rules."""
    with session.open() as manager:
        attempt = attempted(
            manager,
            lambda lists: lists.restore(
                account,
                to_sequence=to_sequence,
                actor=session.actor,
                expect_version=expect_version,
                allow_empty=empty,
            ),
            dry_run=dry_run,
            past=past,
            session=session,
            confirm=confirm,
            empty=empty,
        )
    answer_change(session, attempt)


@command(app, "undo")
@takes_past_requests
def _undo(
    session: Session,
    account: AccountName,
    sequence: Annotated[
        int, typer.Argument(metavar="SEQUENCE", min=1, help="The change; `cidrgate history` shows it.")
    ],
    *,
    expect_version: Version = None,
    empty: Empty = False,
    confirm: Confirmed = None,
    dry_run: DryRun = False,
    past: PastRequests,
) -> None:
    """Undo one change of a list and keep the later ones; `restore` sets the whole list back."""
    with session.open() as manager:
        attempt = attempted(
            manager,
            lambda lists: lists.undo(
                account, sequence, actor=session.actor, expect_version=expect_version, allow_empty=empty
            ),
            dry_run=dry_run,
            past=past,
            session=session,
            confirm=confirm,
            empty=empty,
        )
    answer_change(session, attempt)


def _with_account(
    manager: RuleManager,
    account: str,
    trial: Callable[[RuleManager], object] | None,
    session: Session,
    stack: ExitStack,
) -> RuleManager:
    """Create an account if it does not exist, unless its first change would be refused: it would then stay, empty.

    Args:
        manager: The lists.
        account: The name of the account.
        trial: Makes the first change; None for a dry run, which creates nothing.
        session: The context of the command.
        stack: Closes what is opened here.

    Returns:
        The manager; for a dry run that would create the account, one in memory in which the account exists.
    """
    try:
        manager.account(account)
    except AccountNotFoundError:
        tried = stack.enter_context(session.in_memory(manager.policy_state().effective))
        tried.create_account(account, actor=session.actor)
        if trial is None:
            return tried
        trial(tried)
        with suppress(AccountExistsError):  # another process was quicker
            manager.create_account(account, actor=session.actor)
            stack.enter_context(_account_created(account))
    return manager


@contextmanager
def _account_created(account: str) -> Iterator[None]:
    """Let an error of the store say that the account was created, which is a commit before that of its entries."""
    try:
        yield
    except StoreError as error:
        stored = f"account {account!r} was created, without entries, and a repetition adds them"
        raise after_commits(error, stored) from error
