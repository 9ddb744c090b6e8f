"""The `cidrgate` command. Only its entrance is here, so that it can say what is missing when its extra is."""

from __future__ import annotations

import sys

__all__ = ["main"]

_EXTRA = frozenset({"click", "rich", "typer"})


def main() -> None:
    """Run the `cidrgate` command with the arguments of the process, and exit with its status.

    Raises:
        SystemExit: Always: 0 when it worked or an address is allowed, 1 when `check` denies, 2 on an error.
    """
    try:
        from cidrgate.cli.app import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        message = f"the cidrgate command needs {error.name}, which is not installed: pip install 'cidrgate[cli]'"
        print(message, file=sys.stderr)
        sys.exit(2)
    sys.exit(run(sys.argv[1:]))
