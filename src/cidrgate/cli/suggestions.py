"""Commands that messages suggest, written so that a person can paste them into a shell."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["suggested"]


def suggested(command: str, *arguments: str, options: Sequence[str] = ()) -> str:
    """Return a command line of `cidrgate`, whatever characters its arguments contain.

    Args:
        command: The words of the command.
        arguments: Its arguments. If one looks like an option, `--` says that it is none.
        options: Its options with their values.

    Example:
        >>> suggested("account create", "$HOME")
        "cidrgate account create '$HOME'"
        >>> suggested("add", "-x", "8.8.8.0/24", options=["--label", "an office"])
        "cidrgate add --label 'an office' -- -x 8.8.8.0/24"
    """
    begun = ["cidrgate", *command.split()]
    if any(argument.startswith("-") for argument in arguments):
        return shlex.join([*begun, *options, "--", *arguments])
    return shlex.join([*begun, *arguments, *options])
