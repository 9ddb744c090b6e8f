"""The options for the details of an entry: one row for each field of `EntryDetails`."""

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias, cast

import typer

from cidrgate.cli.durations import moment, moment_after
from cidrgate.cli.errors import CommandError
from cidrgate.cli.integers import integer
from cidrgate.values import DETAILS, Detail

if TYPE_CHECKING:
    from cidrgate.values import EntryDetails

__all__ = ["DETAIL_OPTIONS", "DetailOption", "Uses", "takes_details"]

Uses: TypeAlias = Literal["add", "edit", "replace"]
"""What a command does with details: gives them to new entries, changes them, or both."""


@dataclass(frozen=True, slots=True)
class DetailOption:
    """An option that gives or removes a detail.

    Attributes:
        flags: The flags.
        help: The help text.
        read: Parses the value; None for a switch.
        metavar: The placeholder for the value in the help.
        value: The value that a switch gives; None removes the detail.
    """

    flags: tuple[str, ...]
    help: str
    read: Callable[[str], object] | None = None
    metavar: str | None = None
    value: object = None

    @property
    def removes(self) -> bool:
        """Whether the option is a switch that removes the detail."""
        return self.read is None and self.value is None

    @property
    def parameter(self) -> str:
        """Return the name of the parameter that typer passes."""
        return self.flags[0].lstrip("-").replace("-", "_")


def _whole_number(text: str) -> int:
    try:
        return integer(text)
    except ValueError as error:
        raise CommandError(str(error)) from None


_READERS: dict[type, tuple[Callable[[str], object], str]] = {
    str: (lambda text: text or None, "TEXT"),
    int: (_whole_number, "N"),
    datetime: (moment, "TIME"),
}


def _options_of(detail: Detail) -> tuple[DetailOption, ...]:
    """Return the options of a detail by its type."""
    flag = detail.name.replace("_", "-")
    unset = (DetailOption((f"--unset-{flag}",), f"Remove what --{flag} gave."),) if detail.nullable else ()
    if detail.kind is bool:
        return (
            DetailOption((f"--{flag}",), detail.meaning, value=True),
            DetailOption((f"--no-{flag}",), f"The opposite of --{flag}.", value=False),
            *unset,
        )
    read, metavar = _READERS[detail.kind]
    return (DetailOption((f"--{flag}",), detail.meaning, read, metavar), *unset)


DETAIL_OPTIONS: dict[str, tuple[DetailOption, ...]] = {
    "label": (
        DetailOption(
            ("--label", "-l"), "What to call the entries; '' for no label.", lambda text: text or None, "TEXT"
        ),
    ),
    "expires_at": (
        DetailOption(
            ("--expires-at",), "When the entries expire: a time such as 2027-01-31T18:00+00:00.", moment, "TIME"
        ),
        DetailOption(("--expires-in",), "How long until they expire: 30m, 12h or 90d.", moment_after, "DURATION"),
        DetailOption(("--no-expiry",), "Let the entries not expire any more."),
    ),
    **{detail.name: _options_of(detail) for detail in DETAILS if detail.name not in ("label", "expires_at")},
}
"""The options of each detail. Only one of them may be given. Switches remove a detail that an entry has."""


def takes_details(uses: Uses) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of the details; its function receives their values as `details`.

    Args:
        uses: What the command does with details. New entries have none that a switch could remove.

    Returns:
        A decorator for the function; place it below that of `command`.
    """
    options = {
        name: [option for option in of_detail if uses != "add" or not option.removes]
        for name, of_detail in DETAIL_OPTIONS.items()
    }

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, **arguments: Any) -> None:
            details: dict[str, Any] = {}
            for name, of_detail in options.items():
                typed = [(option, arguments.pop(option.parameter)) for option in of_detail]
                given = [(option, text) for option, text in typed if text is not None and text is not False]
                if len(given) > 1:
                    raise CommandError(f"give {' or '.join(option.flags[0] for option, _ in given)}, not both")
                for option, text in given:
                    details[name] = option.value if option.read is None else option.read(text)
            function(*args, details=cast("EntryDetails", details), **arguments)

        signature = inspect.signature(function, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for parameter in signature.parameters.values():
            parameters += _parameters(options) if parameter.name == "details" else [parameter]
        run.__dict__["__signature__"] = signature.replace(parameters=parameters)
        return run

    return decorate


def _parameters(options: dict[str, list[DetailOption]]) -> Iterator[inspect.Parameter]:
    for of_detail in options.values():
        for option in of_detail:
            switch = option.read is None
            yield inspect.Parameter(
                option.parameter,
                inspect.Parameter.KEYWORD_ONLY,
                default=False if switch else None,
                annotation=Annotated[
                    bool if switch else str | None,
                    typer.Option(*option.flags, metavar=option.metavar, help=option.help),
                ],
            )
