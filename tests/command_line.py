"""The command line in this process: what a person types, and what comes back."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING
from unittest.mock import patch

from typer.main import get_command
from typer.testing import CliRunner

from cidrgate.cli.app import app

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typer.testing import Result

__all__ = ["typed"]

# Typer makes every command anew for each run, which takes longer than most of the commands.
_command = cache(get_command)


def typed(
    arguments: Sequence[str], typed_in: str | bytes | None = None, environment: Mapping[str, str | None] | None = None
) -> Result:
    """Run `cidrgate` with arguments.

    Args:
        arguments: What stands behind `cidrgate`.
        typed_in: What is on its standard input.
        environment: Variables besides those of this process; None for one that it shall not have.
    """
    with patch("typer.testing._get_command", _command):
        return CliRunner().invoke(app, list(arguments), input=typed_in, env=environment)
