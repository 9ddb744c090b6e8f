"""The environment of a command: the address of its database, and a variable for each option of a server.

An option takes precedence over its variable. `cidrgate.stores.urls` defines what an address means, for commands and
library alike.
"""

from __future__ import annotations

import copy
import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from typer.models import OptionInfo

from cidrgate.cli.errors import CommandError
from cidrgate.errors import StoreError
from cidrgate.process.database_files import open_no_database
from cidrgate.stores.urls import redacted, store_of

if TYPE_CHECKING:
    import inspect
    from collections.abc import Collection, Mapping, Sequence

    import typer

__all__ = [
    "DATABASE",
    "DEFAULT_DATABASE",
    "JSON",
    "check_new_database",
    "check_variables",
    "database_of",
    "is_missing",
    "split_lists",
    "variable_of",
    "wants_json",
    "with_variable",
]

DATABASE = "CIDRGATE_DATABASE"

JSON = "CIDRGATE_JSON"

DEFAULT_DATABASE = "sqlite:///cidrgate.db"
"""The default store: a file in the working directory."""

_DATABASE_ENDINGS = (".db", ".db3", ".sqlite", ".sqlite3")
"""The endings by which a new file is recognized as a database."""

_LONGEST_SECRET = 65_536
"""The largest size of a file with a secret, in bytes; a larger one is probably a wrong file."""


def database_of(option: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """Return the address of the store on which a command works.

    Args:
        option: The value of `--database`; None if it is missing.
        environment: The environment variables.

    Raises:
        CommandError: If the variables contradict each other, a file cannot be read, or the address names no store that
            outlives the command.
    """
    given = option
    if given is None:
        given = _variable_or_file(DATABASE, environment)
    if given is None:
        return DEFAULT_DATABASE
    try:
        kind, _ = store_of(given)
    except StoreError as error:
        raise CommandError(str(error)) from error  # the command line is wrong: no later run of it can work
    if kind == "memory":
        raise CommandError(
            "memory:// is for the library only: a store in memory ends with its process, so the next command would not "
            "find it; name a file, such as sqlite:///cidrgate.db"
        )
    return given


def is_missing(address: str) -> bool:
    """Return whether an address names an SQLite file that does not exist. A server is asked when it is opened."""
    kind, path = store_of(address)
    try:
        return kind == "sqlite" and not Path(path).exists()
    except OSError:  # the directory cannot be searched; whoever opens the store says so
        return False


def check_new_database(address: str) -> None:
    """Refuse to create a file whose name was probably meant as something else, such as the name of a host.

    Raises:
        CommandError: If the address is only a name, without a directory and without the ending of a database.

    Example:
        >>> check_new_database("lists.db"), check_new_database("./localhost"), check_new_database("sqlite:///localhost")
        (None, None, None)
        >>> check_new_database("localhost")
        Traceback (most recent call last):
        ...
        cidrgate.cli.errors.CommandError: no database 'localhost' is here, and this name does not look like a file: ...
    """
    if "/" in address or Path(address).suffix.lower() in _DATABASE_ENDINGS:
        return
    raise CommandError(
        f"no database {redacted(address)!r} is here, and this name does not look like a file: to create a file, write "
        f"its directory or an ending (./{redacted(address)} or {redacted(address)}.db); for a server write "
        "postgresql://host/database"
    )


def _variable_or_file(name: str, environment: Mapping[str, str]) -> str | None:
    """Return the value of a variable, or of the file that NAME_FILE names; None if neither is set."""
    named = f"{name}_FILE"
    value, file = environment.get(name), environment.get(named)
    if value is not None and file is not None:
        raise CommandError(f"{name} and {named} are both set: unset one of them")
    if value is not None:
        if not value.strip():
            raise CommandError(f"{name} is set and empty: unset it, or name the store")
        return value
    if file is None:
        return None
    if not file:
        raise CommandError(f"{named} is set and empty: unset it, or name a file")
    return _secret_in(Path(file), named)


def _secret_in(file: Path, named: str) -> str:
    """Return the only line of a file, without its line end."""
    try:
        if not file.is_file() and file.exists():
            raise CommandError(f"{named}: {file} is not a file")
        with open(file, "rb", opener=open_no_database) as opened:
            content = opened.read(_LONGEST_SECRET + 1)
        text = content.decode()
    except (OSError, ValueError) as error:
        # The message of a decoding error could repeat bytes of the secret.
        why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise CommandError(f"{named}: {file} cannot be read: {why}") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise CommandError(f"{named}: {file} is empty: write the value into it")
    if len(content) > _LONGEST_SECRET or "\n" in text:
        raise CommandError(f"{named}: {file} contains more than one line: write only the value into it")
    return text


def variable_of(command: str, flag: str) -> str:
    """Return the name of the variable for an option of a command.

    Example:
        >>> variable_of("serve", "--tls-key")
        'CIDRGATE_SERVE_TLS_KEY'
    """
    return f"CIDRGATE_{command}_{flag.removeprefix('--')}".replace("-", "_").upper()


def with_variable(command: str, parameter: inspect.Parameter) -> inspect.Parameter:
    """Return a parameter whose option also reads a variable and names it in its help; arguments stay unchanged."""
    if get_origin(parameter.annotation) is not Annotated:
        return parameter
    kind, *told = get_args(parameter.annotation)
    made: list[Any] = []
    for each in told:
        if not isinstance(each, OptionInfo):
            made.append(each)
            continue
        option = copy.copy(each)  # several commands share some options
        # In an annotation, typer stores the first flag where the default usually is.
        names = (option.default, *(option.param_decls or ()))
        flag = next(name for name in names if isinstance(name, str) and name.startswith("--")).partition("/")[0]
        option.envvar = variable_of(command, flag)
        option.show_envvar = False  # the help names it in the style of the other options
        option.help = f"{option.help} Also {option.envvar}."
        made.append(option)
    return parameter.replace(annotation=Annotated[(kind, *made)])


_KUBERNETES = re.compile(r"_(SERVICE_(HOST|PORT)(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)$")
"""What Kubernetes appends to the name of a service in the variables that it sets in each pod."""

_RESTRICTING = ("ALLOW", "ALLOW_ACCOUNT", "MAX_STALENESS", "ON_STALE", "TLS_CERTIFICATE", "TLS_KEY")
"""Options of servers that restrict access: one whose variable is empty was probably meant to be set."""

_CLOSE = 0.88
"""How similar a name must be to that of a variable to be taken for a misspelt one."""


def check_variables(
    command: str, known: Collection[str], *, server: bool, environment: Mapping[str, str] = os.environ
) -> None:
    """Refuse variables that someone set in vain: a protection would be missing, or the wrong database used.

    Args:
        command: The name of the command.
        known: The variables that the command reads.
        server: Whether the command's options have variables.
        environment: The environment variables.

    Raises:
        CommandError: If a name is unknown and seems to be meant for this command, or an option that restricts access is
            empty.

    Example:
        >>> wrong = {"CIDRGATE_SERVE_ALOW": "2606:4700::/32"}
        >>> check_variables("serve", ["CIDRGATE_SERVE_ALLOW"], server=True, environment=wrong)
        Traceback (most recent call last):
        ...
        cidrgate.cli.errors.CommandError: CIDRGATE_SERVE_ALOW is unknown: did you mean CIDRGATE_SERVE_ALLOW? Unset it
    """
    own = variable_of(command, "") if server else None
    for name, value in environment.items():
        upper = name.upper()
        if name in known:
            if own is not None and upper.removeprefix(own) in _RESTRICTING and not value.strip():
                raise CommandError(f"{name} is set and empty, and would restrict nothing: unset it, or give it a value")
            continue
        if not upper.startswith("CIDRGATE_") or _KUBERNETES.search(upper):
            continue
        close = get_close_matches(upper, known, 1, _CLOSE)
        if close or upper.startswith(DATABASE) or (own is not None and upper.startswith(own)):
            hint = close or get_close_matches(upper, known, 1)
            raise CommandError(f"{name} is unknown{f': did you mean {hint[0]}?' if hint else '.'} Unset it")


def wants_json(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether usage errors must be JSON too; this must be known before the options are parsed.

    Example:
        >>> wants_json(["list", "--json"], {}), wants_json(["list"], {"CIDRGATE_JSON": "yes"}), wants_json(["list"], {})
        (True, True, False)
    """
    return "--json" in arguments or environment.get(JSON, "").strip().lower() in ("1", "true", "t", "yes", "y", "on")


def split_lists(context: typer.Context, arguments: dict[str, Any]) -> None:
    """Split the lists that came from variables: spaces or commas separate their values."""
    for name, value in arguments.items():
        source = context.get_parameter_source(name)
        if isinstance(value, list) and source is not None and source.name == "ENVIRONMENT":
            arguments[name] = [part for text in value for part in text.split(",") if part]
