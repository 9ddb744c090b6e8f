"""The lists with which a replay decides: of the store, of a snapshot, or of a file that `import` or `apply` reads."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cidrgate._engine import Matcher
from cidrgate.cli.declared_files import read_declared
from cidrgate.cli.errors import BadRowsError, CommandError, RowProblem, shell_message
from cidrgate.cli.exports import exported_lines
from cidrgate.cli.files import opened, read_text
from cidrgate.cli.import_plan import plan_import
from cidrgate.cli.list_sources import FileSource, read_file
from cidrgate.errors import CidrgateError
from cidrgate.manager.outcomes import Guard
from cidrgate.manager.policies import policy_state
from cidrgate.process.streams import is_stdin
from cidrgate.process.temporary_folders import temporary_folder
from cidrgate.rules.policy import OPTION_NAMES
from cidrgate.values import NewEntry

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from cidrgate.cli.options import Session
    from cidrgate.manager import RuleManager
    from cidrgate.rules import Policy
    from cidrgate.rules.submission import Submission
    from cidrgate.stores import Transaction

__all__ = ["CURRENT", "STORE", "chosen_lists"]

STORE, CURRENT = "store", "current"
"""The lists that have no file of their own: of the database, and of a snapshot."""


_OPTION_OF_IMPORT = ": add --columns "


@contextmanager
def chosen_lists(
    session: Session, rules: str, *, snapshot: Path | None, alone: bool
) -> Iterator[tuple[Matcher, Matcher | None, frozenset[str]]]:
    """Yield the lists to decide with, those to compare them with, or None, and former names of accounts of the store.

    Args:
        session: The context of the command.
        rules: `store`, `current`, or the name of a file.
        snapshot: The snapshot with the lists that are current; None for those of the store.
        alone: Whether a file is compared with nothing, and says the lists of all accounts.

    Raises:
        CommandError: If the options contradict each other, or the file cannot be read.
    """
    if rules == CURRENT and snapshot is None:
        raise CommandError("--rules current is about a snapshot: name it with --snapshot, or say --rules store")
    if alone and rules in (STORE, CURRENT):
        raise CommandError("--alone is about the lists of a file: name it with --rules FILE")
    if alone and snapshot is not None:
        raise CommandError("--alone compares with nothing: leave out --snapshot")
    if rules == STORE and snapshot is not None:
        raise CommandError("--snapshot has the lists to use instead of the store's: say --rules current, or a file")
    if alone:
        with _lists_of_file(session, Path(rules), _Policies(session.policy)) as lists:
            lists.check_parents(Path(rules), lists.names)
            yield lists.matcher, None, frozenset()
        return
    with _standing(session, snapshot) as (current, policies, former_names):
        if rules in (STORE, CURRENT):
            yield current, None, former_names
            return
        with _lists_of_file(session, Path(rules), policies) as lists, temporary_folder("rules") as folder:
            copy = folder / "lists"
            current.save(copy)
            candidate = Matcher.open(copy)
            lists.check_parents(Path(rules), {*lists.names, *candidate})
            try:
                _publish(lists.matcher, candidate, lists.names)
            except CidrgateError as error:
                raise CommandError(f"{rules} does not fit the accounts of the store: {error}") from error
            yield candidate, current, former_names - set(lists.names)


@dataclass(frozen=True, slots=True)
class _Policies:
    """The rules for the lists of a file.

    Attributes:
        policy: The policy of accounts that override nothing.
        overridden: What accounts override of it, by name.
    """

    policy: Policy
    overridden: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def of_store(cls, manager: RuleManager, transaction: Transaction) -> _Policies:
        """Return those of a store."""
        from cidrgate.stores.account_rows import AccountRows  # it needs SQLAlchemy, which `stores` loads late

        return cls(policy_state(transaction, None, manager.policy).effective, AccountRows(transaction).policies())

    def prepare(self, manager: RuleManager, names: Iterable[str]) -> None:
        """Create those of some accounts that override the policy, so that their lists keep it."""
        for name in names:
            overridden = self.overridden.get(name)
            if overridden:
                manager.create_account(name)
                options: Any = {option: overridden[option] for option in OPTION_NAMES if option in overridden}
                manager.set_policy(name, **options)


@contextmanager
def _standing(session: Session, snapshot: Path | None) -> Iterator[tuple[Matcher, _Policies, frozenset[str]]]:
    """Yield the lists that decide now, the rules for them, and former names of accounts.

    A snapshot has no rules but those of the options, and no former names.
    """
    if snapshot is not None:
        try:
            yield Matcher.open(snapshot), _Policies(session.policy), frozenset()
        except OSError as error:
            raise CommandError(f"cannot read {snapshot}: {error.strerror}") from error
        return
    from cidrgate.stores.observations import renamed_since  # it needs SQLAlchemy, which `stores` loads late

    with session.open() as manager:
        with session.output.progress("reading the lists", None) as progress:
            manager.load(progress=progress)
        with manager._store.read() as transaction:
            renamed, policies = renamed_since(transaction, 0), _Policies.of_store(manager, transaction)
        matcher = manager.matcher
        yield matcher, policies, frozenset(one for one in renamed if one not in matcher)


class _Lists:
    """The lists of a file, and the names of the accounts that it says something about."""

    def __init__(self, manager: RuleManager, names: Iterable[str]) -> None:
        manager.load()
        self.matcher = manager.matcher
        self.names = list(names)

    def check_parents(self, file: Path, known: Collection[str]) -> None:
        """Check that every parent is among some accounts.

        Raises:
            CommandError: If one is not.
        """
        for name in self.names:
            parent = self.matcher._parent_of(name)
            if parent is not None and parent not in known:
                raise CommandError(
                    f"there is no account {parent!r}, which {file} names as the parent of {name!r}: add it to the file"
                )


@contextmanager
def _lists_of_file(session: Session, file: Path, policies: _Policies) -> Iterator[_Lists]:
    """Yield the lists of a file as the rules accept them: in a store in memory, which nothing outlives."""
    if is_stdin(file):
        raise CommandError("name the file with the lists: a replay may read its log from stdin")
    with session.in_memory(policies.policy) as manager:
        declared = _document(file)
        names = _import(manager, file, policies) if declared is None else _apply(manager, declared, file, policies)
        yield _Lists(manager, names)


def _document(file: Path) -> str | None:
    """Return the text of a file that declares lists, as `apply` reads it; None for every other file."""
    ending = file.suffix.lower()
    if ending not in (".toml", ".json"):
        return None
    text = read_text(file)
    if ending == ".toml":
        return text
    try:
        record: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    is_declared = isinstance(record, dict) and isinstance(record.get("accounts"), dict) and set(record) == {"accounts"}
    return text if is_declared else None


def _apply(manager: RuleManager, text: str, file: Path, policies: _Policies) -> list[str]:
    at = datetime.now(UTC)
    declared = {
        name: one if one.entries is None else replace(one, entries=_as_of(one.entries, at))
        for name, one in read_declared(text, file.name).items()
    }
    policies.prepare(manager, (name for name, one in declared.items() if one.parent is None))
    for one in declared.values():
        if one.parent is not None and one.parent not in declared:
            manager.create_account(one.parent)  # its list is the current one
    report = manager.apply(declared, confirmed=tuple(Guard))
    _raise_problems(report.problems)
    return list(declared)


def _import(manager: RuleManager, file: Path, policies: _Policies) -> list[str]:
    with opened(file) as found:
        lines, stream = exported_lines(found)
        if lines is not None:
            exported = manager.import_export(lines, confirmed=tuple(Guard))
            _raise_problems(exported.problems)
            return [account.name for account in manager.accounts()]
        name = file.stem if file.suffix.lower() == ".gz" else file.name
        try:
            reading = read_file(stream, FileSource(name=name))
            plan = plan_import(reading.rows)
        except CommandError as error:
            if _OPTION_OF_IMPORT not in str(error):
                raise
            # `import` has an option for such a file, which `replay` has for its log.
            said = str(error).partition(_OPTION_OF_IMPORT)[0]
            raise CommandError(f"{file}: {said}: name its columns as `import` needs them") from None
    at = datetime.now(UTC)
    policies.prepare(manager, plan.lists)
    report = manager.import_accounts(
        ((name, _as_of(entries, at)) for name, entries in plan.rewritten(normalize=False, collapse=False)),
        confirmed=tuple(Guard),
    )
    problems = plan.problems(report.problems, reading.unit)
    if problems:
        raise BadRowsError(f"nothing was replayed, because {file} has bad rows", problems)
    return list(plan.lists)


def _as_of(entries: Submission, at: datetime) -> Submission:
    """Return entries of which those that have ended are disabled: they match nothing and count, as they do in a store.

    A change refuses an end in the past, but a question about lists does not make one.
    """
    if not isinstance(entries, list):
        return entries
    return [
        replace(one, expires_at=None, enabled=False) if isinstance(one, NewEntry) and _has_ended(one, at) else one
        for one in entries
    ]


def _has_ended(entry: NewEntry, at: datetime) -> bool:
    end = entry.expires_at
    return isinstance(end, datetime) and end.utcoffset() is not None and end <= at


def _raise_problems(problems: Mapping[str, CidrgateError]) -> None:
    if problems:
        raise BadRowsError(
            "nothing was replayed, because some lists are not valid",
            [RowProblem((), account, error.code, "", (), shell_message(error)) for account, error in problems.items()],
        )


def _publish(lists: Matcher, candidate: Matcher, names: Iterable[str]) -> None:
    """Put the lists of a file in the place of the current ones."""
    # A subaccount can have a parent only if that one is known.
    for name in sorted(names, key=lambda one: lists._parent_of(one) is not None):
        parent = lists._parent_of(name)
        if parent is not None:
            candidate.link(name, parent)
        else:
            candidate.publish(name, lists.prefixes(name), when_empty=lists._when_empty(name), mode=lists.mode(name))
