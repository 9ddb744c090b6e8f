"""`cidrgate policy`: shows and sets the stored policy of the store and of accounts."""

from dataclasses import replace
from typing import Annotated, Any

import typer

from cidrgate.cli.arguments import DryRun, Version
from cidrgate.cli.errors import CommandError
from cidrgate.cli.options import Session, command
from cidrgate.cli.output import DRY, Table, counted
from cidrgate.rules.limits import some_of
from cidrgate.rules.policy import OPTION_NAMES, PolicyState
from cidrgate.serialization import policy_change_record, policy_record

__all__ = ["app"]

app = typer.Typer(help="Show and set what lists may contain.", no_args_is_help=True)

_Account = Annotated[
    str | None, typer.Option("--account", metavar="ACCOUNT", help="An account, instead of the whole store.")
]
_MOST_NAMED = 20


@command(app, "show")
def _show(session: Session, *, account: _Account = None) -> None:
    """Show the policy that applies, and which of its options are stored."""
    with session.open() as manager:
        state = manager.policy_state(account)
    session.output.answer(policy_record(state), _table(state))


@command(app, "set")
def _set(
    session: Session,
    *,
    account: _Account = None,
    no_allow_special: Annotated[
        bool, typer.Option("--no-allow-special", help="Refuse special-purpose ranges, whatever a process allows.")
    ] = False,
    unset: Annotated[
        list[str] | None,
        typer.Option("--unset", metavar="OPTION", help="An option to store no longer; may be repeated."),
    ] = None,
    expect_version: Version = None,
    dry_run: DryRun = False,
) -> None:
    """Store options of the policy: --max-entries, --allow-special, --widest-ipv4, --widest-ipv6. No list changes."""
    options: dict[str, Any] = dict(session.typed_policy)
    if no_allow_special:
        if "allow_special" in options:
            raise CommandError("give --allow-special or --no-allow-special, not both")
        options["allow_special"] = False
    for name in (one.lstrip("-").replace("-", "_") for one in unset or []):
        if name not in OPTION_NAMES:
            raise CommandError(f"there is no option {name!r}: there are {', '.join(OPTION_NAMES)}")
        if name in options:
            raise CommandError(f"give a value for {name} or unset it, not both")
        options[name] = None
    if not options:
        raise CommandError("nothing to change: give an option after the command, or --unset OPTION")
    # What is to be stored is no rule of this process: a list that meets the rules of before is over the new limit.
    with replace(session, policy=session.policy_before).open() as manager:
        changer = manager.with_hooks(dry_run=True) if dry_run else manager
        change = changer.set_policy(account, actor=session.actor, expect_version=expect_version, **options)
    lines = []
    for names, more, what in (
        (change.over_limit, change.more_over_limit, "more entries than the limit"),
        (change.special, change.more_special, "special-purpose ranges that are not allowed any more"),
    ):
        if names:
            number = counted(len(names) + more, "list with", "lists with")
            lines.append(
                f"unchanged, until somebody removes entries: {number} {what}: {some_of(names, _MOST_NAMED, more)}"
            )
    record = policy_change_record(change)
    if dry_run:
        whose = "the store" if account is None else f"account {account}"
        session.output.answer(
            {**record, "dry_run": True}, f"the policy of {whose} would be:", _table(change.state), *lines, DRY
        )
    else:
        session.output.answer(record, _table(change.state), *lines)


def _table(state: PolicyState) -> Table:
    rows = []
    for name, value in state.effective.options().items():
        here = "the store" if state.account is None else "the account"
        rows.append((name, _word(value), here if name in state.stored else ""))
    return Table(("option", "value", "stored for"), rows)


def _word(value: int | bool) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else f"{value}"
