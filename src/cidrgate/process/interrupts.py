"""Ctrl-C at a moment at which no exception can be passed on, as in `__del__` or in a callback of a library in C.

Python prints such an exception and goes on: the interrupt would be lost, and the process would not end.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

__all__ = ["comes_again", "repeat_lost_interrupts"]

_AGAIN_AFTER = 0.02
"""Seconds until an interrupt comes again: until the code that cannot pass it on has ended, most often."""


def repeat_lost_interrupts() -> None:
    """Let an interrupt that could not be passed on come again, instead of being printed and lost."""
    print_it = sys.unraisablehook

    def tell(arguments: sys.UnraisableHookArgs) -> None:
        if not comes_again(arguments):
            print_it(arguments)

    sys.unraisablehook = tell


def comes_again(arguments: sys.UnraisableHookArgs) -> bool:
    """Return whether an error that cannot be passed on is an interrupt. If so, send it again a moment later.

    Args:
        arguments: What `sys.unraisablehook` gets.
    """
    if not issubclass(arguments.exc_type, KeyboardInterrupt):
        return False
    if not sys.is_finalizing():  # the process ends anyway, and the start of a thread would never return
        # By a thread: sent at once, it would come before this function has returned, and be lost too.
        timer = threading.Timer(_AGAIN_AFTER, os.kill, (os.getpid(), signal.SIGINT))
        timer.daemon = True
        timer.start()
    return True
