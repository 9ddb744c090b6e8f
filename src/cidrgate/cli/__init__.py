"""The `cidrgate` command. Only its entry point is here, so that it can report a missing extra."""

from __future__ import annotations

import sys

from cidrgate.cli.exit_statuses import INTERRUPTED, ExitStatus
from cidrgate.errors import MissingExtraError, needs_extra

__all__ = ["main"]


def main() -> None:
    """Run the `cidrgate` command with the arguments of the process, and exit with its status.

    Raises:
        SystemExit: Always, with one of the statuses of `cidrgate.cli.exit_statuses`, or 130 after ctrl-C.
    """
    try:
        with needs_extra("cli", "the cidrgate command"):
            from cidrgate.cli.app import run
        status = run(sys.argv[1:])
    except MissingExtraError as error:
        print(error, file=sys.stderr)
        sys.exit(int(ExitStatus.ERROR))
    except KeyboardInterrupt:
        # Also while libraries are loaded and while a server reads the lists, before it handles signals itself.
        sys.exit(INTERRUPTED)
    sys.exit(status)
