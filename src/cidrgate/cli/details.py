"""The options that say more of an entry than its network: a row for each field of `EntryDetails`."""

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
        flags: What people type.
        of_new: What it is for where entries are added.
        of_edited: What it is for where one is edited; an empty text takes the detail away there.
        read: The detail, from what was typed.
        metavar: What stands for the text in the help.
    """

    flags: tuple[str, ...]
    of_new: str
    of_edited: str
    read: Callable[[str], object]
    metavar: str | None = None

    @property
    def parameter(self) -> str:
        """The name of the parameter that typer makes of it."""
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
    """Give a command the options of the details; its function gets what was said as `details`.

    Args:
        edits: Whether it edits an entry, of which an empty text takes a detail away.

    Returns:
        A decorator for the function, under that of `command`.
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
