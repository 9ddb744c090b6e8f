"""The `cidrgate` command. Only its entry point is here, so that it can report a missing extra."""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Run the `cidrgate` command with the arguments of the process, and exit with its status.

    Raises:
        SystemExit: Always, with one of the statuses of `cidrgate.cli.exit_statuses`, or 130 after ctrl-C.
    """
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        # While libraries are loaded, ctrl-C ends the process as it ends a program in C: without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from cidrgate.process.streams import leave, open_missing_streams

    open_missing_streams()  # before a file, such as the database, gets the number of a closed one
    from cidrgate.cli.exit_statuses import INTERRUPTED, ExitStatus
    from cidrgate.errors import MissingExtraError, needs_extra
    from cidrgate.process.interrupts import repeat_lost_interrupts

    repeat_lost_interrupts()  # commands load further libraries
    try:
        with needs_extra("cli", "the cidrgate command"):
            from cidrgate.cli.app import run
        signal.signal(signal.SIGINT, handler)
        status = run(sys.argv[1:])
    except MissingExtraError as error:
        try:
            print(error, file=sys.stderr, flush=True)
        except OSError:
            leave(sys.stderr)
        sys.exit(int(ExitStatus.ERROR))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    sys.exit(status)
