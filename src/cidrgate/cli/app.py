"""The `cidrgate` command: its subcommands, its version, and how it starts and fails."""

import errno
import io
import json
import sys
import traceback
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cidrgate import __version__
from cidrgate.cli import (
    accounts,
    applying,
    authorize,
    backups,
    changes,
    checks,
    finding,
    history,
    migrating,
    modes,
    policies,
    recommending,
    replaying,
    serving,
    sessions,
    snapshots,
    tokens,
    transfer,
)
from cidrgate.cli.environment import wants_json
from cidrgate.cli.error_records import error_object
from cidrgate.cli.exit_statuses import PLAN_FAILED, ExitStatus
from cidrgate.cli.options import Session, command, root_options
from cidrgate.cli.output import Output, unwritten, written_if_possible
from cidrgate.process.streams import can_be_written, leave
from cidrgate.stores.urls import redacted_message

__all__ = ["app", "run"]


_ARGUMENTS = "cidrgate.arguments"
"""What the command line was, in the context."""


class _Commands(TyperGroup):
    """The commands. Their usage errors repeat no password: a misplaced argument may be the URL of a database."""

    def make_context(self, info_name: str | None, args: list[str], *arguments: Any, **more: Any) -> Any:
        """Parse the options of every command."""
        typed = list(args)
        with _errors_redacted(typed, self.commands):
            return super().make_context(info_name, args, *arguments, **more)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments. Options such as `--version` are answered while they are parsed."""
        ctx.meta[_ARGUMENTS] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Parse the command and its arguments, and run it."""
        with _errors_redacted(ctx.meta.get(_ARGUMENTS, ()), self.commands):
            return super().invoke(ctx)


def _error_status(arguments: Sequence[str], commands: Collection[str]) -> int:
    """Return the exit status of an error that is none of cidrgate's, such as a wrong command line.

    `plan` has another one than the other commands: with theirs it says that there is a difference.
    """
    named = next((argument for argument in arguments if argument in commands), None)
    return int(PLAN_FAILED if named == "plan" else ExitStatus.ERROR)


@contextmanager
def _errors_redacted(arguments: Sequence[str], commands: Collection[str]) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # The type of these errors changed between versions of typer, their text did not.
        message = getattr(error, "message", None)
        if hasattr(error, "format_message") and isinstance(message, str):
            error.__dict__["message"] = redacted_message(message) + _origin(error)
            error.__dict__["exit_code"] = _error_status(arguments, commands)
        raise


def _origin(error: Exception) -> str:
    """Return the variable from which an invalid value came; empty if the value was typed."""
    context, option = getattr(error, "ctx", None), getattr(error, "param", None)
    if context is None or option is None or option.name is None:
        return ""
    source = context.get_parameter_source(option.name)
    return f" (from {option.envvar})" if source is not None and source.name == "ENVIRONMENT" else ""


app = typer.Typer(
    name="cidrgate",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\n\n".join(["Exit statuses:", *(f"{one.value}  {one.meaning}" for one in ExitStatus)]),
)


_VERSION = {"version": __version__}
_NAMED_VERSION = f"cidrgate {__version__}"


def _print_version(context: typer.Context, *, wanted: bool) -> None:
    if wanted:
        typer.echo(json.dumps(_VERSION) if wants_json(context.meta[_ARGUMENTS]) else _NAMED_VERSION)
        raise typer.Exit


@root_options(app)
def _root(
    *,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Manage and check the IP allowlists of an API platform's accounts."""


@command(app, "version")
def _version(session: Session) -> None:
    """Print the version."""
    session.output.answer(_VERSION, _NAMED_VERSION)


app.add_typer(accounts.app, name="account")
app.add_typer(changes.entry_app, name="entry")
app.add_typer(policies.app, name="policy")
app.add_typer(tokens.app, name="token")
app.add_typer(sessions.app, name="session")
for part in (
    changes,
    modes,
    checks,
    finding,
    recommending,
    transfer,
    backups,
    applying,
    history,
    snapshots,
    replaying,
    migrating,
    serving,
    authorize,
):
    app.add_typer(part.app)


def run(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: The command line after `cidrgate`.

    Returns:
        The exit status; see `cidrgate.cli.exit_statuses`.
    """
    for stream in (sys.stdout, sys.stderr):
        # A label in a script that the terminal's encoding cannot represent must not end a command halfway.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    as_json = wants_json(arguments)
    try:
        return _status(app(args=list(arguments), standalone_mode=not as_json))
    except SystemExit as ended:
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
        # Libraries end with 1 if nobody reads the help or a usage error: it would say that `check` denies.
        for stream in (sys.stdout, sys.stderr):
            leave(stream)
        return _error_status(arguments, typer.main.get_group(app).commands)
    except Exception as error:  # noqa: BLE001 - Python's own exit status, 1, would say that `check` denies
        failed = _error_status(arguments, typer.main.get_group(app).commands)
        if isinstance(error, OSError) and error.filename is None and _is_about_stdout(error):
            Output(json=as_json).error(unwritten(error), failed)  # of the help or of the version
            return failed
        with written_if_possible():
            # Usage errors: their type changed between versions of typer, their method did not.
            explain = getattr(error, "format_message", None)
            if explain is not None:
                _print_error("usage", explain(), failed)
            elif as_json:
                _print_error(
                    "internal_error", f"unexpected {type(error).__name__}: {error}; without --json it is traced", failed
                )
            else:
                traceback.print_exc()
        return failed


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What is said of a stream that takes nothing more, such as one to a full disk."""


def _is_about_stdout(error: OSError) -> bool:
    return error.errno in _NO_ROOM or (error.errno == errno.EBADF and not can_be_written(sys.stdout))


def _print_error(code: str, message: str, status: int) -> None:
    print(json.dumps({"error": error_object(code, message, status)}), file=sys.stderr)


def _status(returned: object) -> int:
    return returned if isinstance(returned, int) else int(ExitStatus.DONE)
