"""The options of every command, and the decorator that adds them.

They may stand before or after the command; the one after it takes precedence. This module also handles errors for all
commands: an error of cidrgate ends a command with a message and the exit status of its kind.
"""

import functools
import getpass
import inspect
import os
import pwd
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

import typer

from cidrgate.cli.durations import seconds
from cidrgate.cli.environment import (
    DATABASE,
    DEFAULT_DATABASE,
    JSON,
    check_new_database,
    check_variables,
    database_of,
    is_missing,
    split_lists,
    with_variable,
)
from cidrgate.cli.exit_statuses import INTERRUPTED, ExitStatus, status_of
from cidrgate.cli.integers import read_plainly
from cidrgate.cli.output import Output
from cidrgate.errors import CidrgateError
from cidrgate.manager import RuleManager
from cidrgate.process.streams import leave
from cidrgate.rules import Policy
from cidrgate.stores.waits import LOCK_TIMEOUT
from cidrgate.values import Origin

if TYPE_CHECKING:
    from cidrgate.service.auth.credentials import Credentials
    from cidrgate.stores import Store

__all__ = ["Session", "command", "root_options"]

_Arguments = ParamSpec("_Arguments")


@dataclass(frozen=True, slots=True)
class Session:
    """The context of one run of a command.

    Attributes:
        given_database: The value of `--database`; None if it is missing.
        actor: Who makes changes, for the change log; None if unknown.
        policy: The rules for lists.
        output: Writes answers and errors, in the chosen format.
        lock_timeout: Seconds to wait for locks of others; None for the default of the store.
        typed_policy: The options of the policy that were typed after the command.
        policy_before: The rules for lists without those options.
        opened: Every store that the command has opened, also those that it has closed.
    """

    given_database: str | None = field(repr=False)  # it may hold a password
    actor: str | None
    policy: Policy
    output: Output
    lock_timeout: float | None = None
    typed_policy: Mapping[str, Any] = field(default_factory=dict)
    policy_before: Policy = field(default_factory=Policy)
    opened: "list[Store]" = field(default_factory=list, repr=False)

    @property
    def database(self) -> str:
        """Return the URL of the store, or the path of a file: from the option, the environment or the default.

        Raises:
            CommandError: If the environment contradicts itself, a file that it names cannot be read, or the address
                names no store that outlives the command.
        """
        return database_of(self.given_database)

    def open(self, *, create: bool = False, dry_run: bool = False) -> RuleManager:
        """Connect to the store without loading its matcher.

        Args:
            create: Whether a database that does not exist is created.
            dry_run: Whether to create nothing: an empty store in memory then replaces the database.

        Raises:
            StoreNotFoundError: If it does not exist and `create` is False.
            StoreError: If it cannot be opened.
            CommandError: If it does not exist and its address is probably a mistake.
        """
        if create:
            self.check_new_database()
            if dry_run and is_missing(self.database):
                return self.in_memory()
        manager = self.open_manager(create=create, load=False)
        manager.policy = self.policy
        if self.policy != Policy():
            for difference in manager.policy_differences():
                self.output.note(difference)
        return manager.with_origin(self.origin)

    def open_manager(self, **settings: Any) -> RuleManager:
        """Open the store with the settings of `RuleManager.open`, whose errors it raises."""
        manager = RuleManager.open(self.database, lock_timeout=self.lock_timeout, **settings)
        self.opened.append(manager._store)
        return manager

    @contextmanager
    def new_store_discarded(self) -> Iterator[None]:
        """Delete a SQLite file that the command creates if it fails and has stored nothing.

        `authorize` would start with an empty store, in which no account is enforced.
        """
        try:
            yield
        except BaseException:
            for store in self.opened:
                store.discard()
            raise

    @property
    def origin(self) -> Origin:
        """The origin of the command's changes: the user of the operating system, whatever `--actor` says."""
        return Origin(kind="cli", id=_process_user())

    def check_new_database(self) -> None:
        """Check the name of a database that the command would create.

        Raises:
            CommandError: If it does not exist, and its name was probably meant as something else.
        """
        if is_missing(self.database):
            check_new_database(self.database)

    def in_memory(self, policy: Policy | None = None) -> RuleManager:
        """Return a manager of an empty store in memory, for what a dry run would create.

        Args:
            policy: The rules for lists; those of the options if None.
        """
        return RuleManager.open("memory://", policy=self.policy if policy is None else policy, create=True, load=False)

    @contextmanager
    def open_credentials(self, *, create: bool = False) -> "Iterator[Credentials]":
        """Connect to the store for its tokens and sessions; the arguments and errors are those of `open`."""
        from cidrgate.service.auth.credentials import Credentials

        with self.open(create=create) as manager:
            yield Credentials(manager._store).with_origin(self.origin)


def command(
    app: typer.Typer,
    name: str,
    *,
    variables: bool = False,
    failure: ExitStatus | None = None,
    short_for: str | None = None,
) -> Callable[[Callable[Concatenate[Session, _Arguments], None]], Callable[Concatenate[Session, _Arguments], None]]:
    """Register a function as a command that takes the options of every command.

    Args:
        app: The command group.
        name: The command's name.
        variables: Whether each of its options also has an environment variable, as servers need.
        failure: The exit status of every error; None for the status of the error's kind.
        short_for: The command that this one is a short name for; None if it is none. One function may have both names.

    Returns:
        A decorator for a function of a `Session` and the command's own arguments.
    """

    def register(
        function: Callable[Concatenate[Session, _Arguments], None],
    ) -> Callable[Concatenate[Session, _Arguments], None]:
        @functools.wraps(function)
        def run(context: typer.Context, *_args: _Arguments.args, **arguments: _Arguments.kwargs) -> None:
            near = {option: arguments.pop(option) for option in _OPTIONS}
            split_lists(context, arguments)
            session = _session(near, context.find_root().obj or {})
            read = {one.envvar for each in (context, context.find_root()) for one in each.command.params}
            known = {DATABASE, f"{DATABASE}_FILE", JSON, *(variable for variable in read if isinstance(variable, str))}
            try:
                session.output.check_stdout()
                check_variables(name, known, server=variables)
                with session.new_store_discarded():
                    function(session, *_args, **arguments)
            except CidrgateError as error:
                status = status_of(error) if failure is None else failure
                session.output.error(error, status)
                raise typer.Exit(int(status)) from error
            except BrokenPipeError as error:
                leave(sys.stdout)
                raise typer.Exit(int(ExitStatus.ERROR)) from error
            except KeyboardInterrupt as error:
                raise typer.Exit(INTERRUPTED) from error

        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        if variables:
            own = [with_variable(name, parameter) for parameter in own]
        _show_parameters(run, [*own, *_parameters(from_environment=False)])
        note = "" if short_for is None else f"\n\nThe same as `cidrgate {short_for}`."
        app.command(name, help=f"{inspect.getdoc(function)}{note}")(run)
        return function

    return register


def root_options(app: typer.Typer, **kwargs: Any) -> Callable[[Callable[..., None]], None]:
    """Register a function that runs before each command; it has the options of every command too.

    Args:
        app: The root of all commands.
        kwargs: For `typer.Typer.callback`.

    Returns:
        A decorator for a function with its own options.
    """

    def register(function: Callable[..., None]) -> None:
        @functools.wraps(function)
        def run(context: typer.Context, **arguments: Any) -> None:
            context.obj = {option: arguments.pop(option) for option in _OPTIONS}
            source = context.get_parameter_source("database")
            if source is not None and source.name == "ENVIRONMENT":
                context.obj["database"] = None  # read later: a variable that names a file may contradict it
            function(**arguments)

        own = list(inspect.signature(function, eval_str=True).parameters.values())
        _show_parameters(run, [*own, *_parameters(from_environment=True)])
        app.callback(**kwargs)(run)

    return register


def _option_of(option: "Field[Any]") -> tuple[Any, tuple[str, ...], str, str, dict[str, Any]]:
    """Return the option that sets a field of `Policy`."""
    kind = type(option.default)
    purpose = option.metadata["help"]
    if kind is not bool:
        purpose += f"; {option.default} if not given"
    flag = f"--{option.name.replace('_', '-')}"
    return kind | None, (flag,), f"CIDRGATE_{option.name.upper()}", purpose, option.metadata["option"]


# name -> (type, flags, environment variable, help text, further arguments for typer)
_OPTIONS: dict[str, tuple[Any, tuple[str, ...], str, str, dict[str, Any]]] = {
    "database": (
        str | None,
        ("--database", "-d"),
        DATABASE,
        f"The store; {DEFAULT_DATABASE} if not given. {DATABASE}_FILE names a file that contains it",
        {"metavar": "PATH|URL"},
    ),
    "actor": (
        str | None,
        ("--actor",),
        "CIDRGATE_ACTOR",
        "Who makes the change, for the change log; the system user if not given",
        {"metavar": "NAME"},
    ),
    **{option.name: _option_of(option) for option in fields(Policy)},
    "lock_timeout": (
        float | None,
        ("--lock-timeout",),
        "CIDRGATE_LOCK_TIMEOUT",
        f"How long to wait for locks of others before the command fails; {LOCK_TIMEOUT:g} seconds if not given",
        {"parser": seconds(least=0.001, most=86_400), "metavar": "DURATION"},
    ),
    "json": (
        bool | None,
        ("--json",),
        JSON,
        "Answer as JSON on stdout, report errors as JSON on stderr",
        {},
    ),
}


def _parameters(*, from_environment: bool) -> list[inspect.Parameter]:
    """Return the options as parameters of a function that typer reads.

    Only the options before the command read the environment: an unset option after the command must not override them.
    """
    made = []
    for name, (kind, flags, variable, purpose, told) in _OPTIONS.items():
        settings = {"rich_help_panel": "Options of every command", "show_default": False, "show_envvar": False, **told}
        option = typer.Option(
            None,
            *flags,
            help=f"{purpose}. Also {variable}.",
            envvar=variable if from_environment else None,
            **settings,
        )
        made.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind))
    return made


def _show_parameters(run: Callable[..., None], parameters: list[inspect.Parameter]) -> None:
    """Show these parameters and the context to typer, instead of the original parameters of `run`."""
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    read = (read_plainly(parameter) for parameter in parameters)
    shown = [context, *(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in read)]
    run.__dict__["__signature__"] = inspect.Signature(shown)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}


def _session(near: dict[str, Any], far: dict[str, Any]) -> Session:
    """Return the session of a command from the options after it and before it."""
    chosen = {name: far.get(name) if value is None else value for name, value in near.items()}

    def limits(options: Mapping[str, Any]) -> dict[str, Any]:
        return {option.name: options[option.name] for option in fields(Policy) if options.get(option.name) is not None}

    actor = _system_user() if chosen["actor"] is None else chosen["actor"]
    return Session(
        given_database=chosen["database"],
        actor=actor or None,
        policy=Policy(**limits(chosen)),
        output=Output(json=bool(chosen["json"])),
        lock_timeout=chosen["lock_timeout"],
        typed_policy=limits(near),
        policy_before=Policy(**limits(far)),
    )


def _process_user() -> str:
    """Return the user as whom the process runs: the name, or the number of a user without a name.

    Unlike `_system_user`, it does not believe the environment.
    """
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"{number}"


def _system_user() -> str | None:
    """Return the name of the user who runs the process; None if it has no name, as in some containers."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return None
