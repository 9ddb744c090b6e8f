"""What a command takes from the environment: the address of its database, and a variable for each option of a server.

The option wins over the variable. `cidrgate.stores.urls` says what an address means, for commands and library alike.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from typer.models import OptionInfo

from cidrgate.cli.errors import CommandError
from cidrgate.errors import StoreError
from cidrgate.stores.urls import store_of

if TYPE_CHECKING:
    import inspect
    from collections.abc import Mapping, Sequence

    import typer

__all__ = [
    "DATABASE",
    "DEFAULT_DATABASE",
    "JSON",
    "database_of",
    "split_lists",
    "variable_of",
    "wants_json",
    "with_variable",
]

DATABASE = "CIDRGATE_DATABASE"

JSON = "CIDRGATE_JSON"

DEFAULT_DATABASE = "sqlite:///cidrgate.db"
"""The store of whoever names none: a file in the working directory."""

_LONGEST_SECRET = 65_536
"""Bytes of a file with a secret; a longer one is another file."""


def database_of(option: str | None, environment: Mapping[str, str] = os.environ) -> str:
    """The address of the store a command works on.

    Args:
        option: What `--database` says; None where it was not given.
        environment: Where the variables are.

    Raises:
        CommandError: If the variables contradict each other, or a file cannot be read.
        StoreError: If the address names no store that outlives the command.
    """
    given = option
    if given is None:
        given = _variable_or_file(DATABASE, environment)
    if given is None:
        return DEFAULT_DATABASE
    if store_of(given)[0] == "memory":
        raise StoreError(
            "memory:// is for the library alone: a store in memory ends with its process, so that the next command "
            "would not find it; name a file, such as sqlite:///cidrgate.db"
        )
    return given


def _variable_or_file(name: str, environment: Mapping[str, str]) -> str | None:
    """The value of a variable, or of the file that NAME_FILE names; None if neither is set."""
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
    """The one line of a file, without what ends it."""
    try:
        if not file.is_file() and file.exists():
            raise CommandError(f"{named}: {file} is no file")
        with file.open("rb") as opened:
            content = opened.read(_LONGEST_SECRET + 1)
        text = content.decode()
    except (OSError, ValueError) as error:
        # The message of a decoding error would repeat bytes of the secret.
        why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise CommandError(f"{named}: {file} cannot be read: {why}") from None
    text = text.removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise CommandError(f"{named}: {file} is empty: write the value into it")
    if len(content) > _LONGEST_SECRET or "\n" in text:
        raise CommandError(f"{named}: {file} holds more than one line: write the value alone into it")
    return text


def variable_of(command: str, flag: str) -> str:
    """The variable of an option of a command.

    Example:
        >>> variable_of("serve", "--tls-key")
        'CIDRGATE_SERVE_TLS_KEY'
    """
    return f"CIDRGATE_{command}_{flag.removeprefix('--')}".replace("-", "_").upper()


def with_variable(command: str, parameter: inspect.Parameter) -> inspect.Parameter:
    """A parameter of a command, whose option reads a variable too and says so in its help; an argument as it is."""
    if get_origin(parameter.annotation) is not Annotated:
        return parameter
    kind, *told = get_args(parameter.annotation)
    made: list[Any] = []
    for each in told:
        if not isinstance(each, OptionInfo):
            made.append(each)
            continue
        option = copy.copy(each)  # some are shared between commands
        # In an annotation, typer keeps the first name in the place of the default.
        names = (option.default, *(option.param_decls or ()))
        flag = next(name for name in names if isinstance(name, str) and name.startswith("--"))
        option.envvar = variable_of(command, flag)
        option.show_envvar = False  # the help says it in the words of the other options
        option.help = f"{option.help} Also {option.envvar}."
        made.append(option)
    return parameter.replace(annotation=Annotated[(kind, *made)])


def wants_json(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> bool:
    """Whether an error of use is to be JSON too, which is said before the options are read.

    Example:
        >>> wants_json(["list", "--json"], {}), wants_json(["list"], {"CIDRGATE_JSON": "yes"}), wants_json(["list"], {})
        (True, True, False)
    """
    return "--json" in arguments or environment.get(JSON, "").strip().lower() in ("1", "true", "t", "yes", "y", "on")


def split_lists(context: typer.Context, arguments: dict[str, Any]) -> None:
    """Take apart the lists that came from variables: their values are separated by spaces or commas."""
    for name, value in arguments.items():
        source = context.get_parameter_source(name)
        if isinstance(value, list) and source is not None and source.name == "ENVIRONMENT":
            arguments[name] = [part for text in value for part in text.split(",") if part]
