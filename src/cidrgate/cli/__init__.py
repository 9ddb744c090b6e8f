"""The `cidrgate` command. Only its entry point is here, so that it can report a missing extra."""

from __future__ import annotations

import sys

from cidrgate.errors import MissingExtraError, needs_extra

__all__ = ["main"]


def main() -> None:
    """Run the `cidrgate` command with the arguments of the process, and exit with its status.

    Raises:
        SystemExit: Always: 0 on success or if an address is allowed, 1 if `check` denies, 2 on an error.
    """
    try:
        with needs_extra("cli", "the cidrgate command"):
            from cidrgate.cli.app import run
    except MissingExtraError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    sys.exit(run(sys.argv[1:]))
