"""The `cidrgate` command: its subcommands, its version, and how it starts and fails."""

import io
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from cidrgate import __version__
from cidrgate.cli import (
    accounts,
    authorize,
    checks,
    history,
    lists,
    migrating,
    serving,
    sessions,
    snapshots,
    tokens,
    transfer,
)
from cidrgate.cli.environment import wants_json
from cidrgate.cli.options import ERROR, Session, command, root_options
from cidrgate.stores.urls import redacted_message

__all__ = ["app", "run"]


class _Commands(TyperGroup):
    """The commands. Their usage errors repeat no password: a misplaced argument may be the URL of a database."""

    def make_context(self, *arguments: Any, **more: Any) -> Any:
        """Parse the options of every command."""
        with _errors_redacted():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: Any) -> Any:
        """Parse the command and its arguments, and run it."""
        with _errors_redacted():
            return super().invoke(ctx)


@contextmanager
def _errors_redacted() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # The type of these errors changed between versions of typer, their text did not.
        message = getattr(error, "message", None)
        if hasattr(error, "format_message") and isinstance(message, str):
            error.__dict__["message"] = redacted_message(message) + _origin(error)
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
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
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
    session.output.answer({"version": __version__}, __version__)


app.add_typer(accounts.app, name="account")
app.add_typer(tokens.app, name="token")
app.add_typer(sessions.app, name="session")
for part in (lists, checks, transfer, history, snapshots, migrating, serving, authorize):
    app.add_typer(part.app)


def run(arguments: Sequence[str]) -> int:
    """Run the command.

    Args:
        arguments: The command line after `cidrgate`.

    Returns:
        The exit status: 0 on success or if an address is allowed, 1 if `check` denies, 2 on an error.
    """
    for stream in (sys.stdout, sys.stderr):
        # A label in a script that the terminal's encoding cannot represent must not end a command halfway.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if not wants_json(arguments):
        return _status(app(args=list(arguments)))
    try:
        return _status(app(args=list(arguments), standalone_mode=False))
    except Exception as error:
        # Usage errors: their type changed between versions of typer, their method did not.
        explain = getattr(error, "format_message", None)
        if explain is None:
            raise
        print(json.dumps({"error": {"code": "usage", "message": explain(), "problems": []}}), file=sys.stderr)
        return ERROR


def _status(returned: object) -> int:
    return returned if isinstance(returned, int) else 0
