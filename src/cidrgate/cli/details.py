"""The options for the details of an entry: one row for each field of `EntryDetails`."""

import functools
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, cast

import typer

from cidrgate.cli.arguments import expiry

if TYPE_CHECKING:
    from cidrgate.values import EntryDetails

__all__ = ["DETAIL_OPTIONS", "DetailOption", "takes_details"]


class DetailOption(NamedTuple):
    """The option of a detail.

    Attributes:
        flags: The flags.
        of_new: The help text for new entries.
        of_edited: The help text for an edited entry; an empty value removes the detail there.
        read: Parses the value.
        metavar: The placeholder for the value in the help.
    """

    flags: tuple[str, ...]
    of_new: str
    of_edited: str
    read: Callable[[str], object]
    metavar: str | None = None

    @property
    def parameter(self) -> str:
        """Return the name of the parameter that typer passes."""
        return self.flags[0].lstrip("-").replace("-", "_")


DETAIL_OPTIONS = {
    "label": DetailOption(
        ("--label", "-l"),
        "What to call the entries.",
        "The new label; '' removes it.",
        lambda text: text or None,
    ),
    "expires_at": DetailOption(
        ("--expires",),
        "When the entries expire: in 30m, 12h, 90d, or 2027-01-31T18:00+00:00.",
        "The new expiry, as for `add`; '' removes it.",
        expiry,
        "WHEN",
    ),
}


def takes_details(*, edits: bool = False) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of the details; its function receives their values as `details`.

    Args:
        edits: Whether the command edits an entry, where an empty value removes a detail.

    Returns:
        A decorator for the function; place it below that of `command`.
    """

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(*args: Any, **arguments: Any) -> None:
            typed = {name: arguments.pop(option.parameter) for name, option in DETAIL_OPTIONS.items()}
            said = {
                name: None if edits and not text else DETAIL_OPTIONS[name].read(text)
                for name, text in typed.items()
                if text is not None
            }
            function(*args, details=cast("EntryDetails", said), **arguments)

        signature = inspect.signature(function, eval_str=True)
        parameters: list[inspect.Parameter] = []
        for parameter in signature.parameters.values():
            parameters += _parameters(edits=edits) if parameter.name == "details" else [parameter]
        run.__dict__["__signature__"] = signature.replace(parameters=parameters)
        return run

    return decorate


def _parameters(*, edits: bool) -> list[inspect.Parameter]:
    return [
        inspect.Parameter(
            option.parameter,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[
                str | None,
                typer.Option(*option.flags, metavar=option.metavar, help=option.of_edited if edits else option.of_new),
            ],
        )
        for option in DETAIL_OPTIONS.values()
    ]
