"""Ctrl-C at a moment at which no exception can be passed on, as in `__del__` or in a callback of a library in C.

Python prints such an exception and goes on: the interrupt would be lost, and the process would not end.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time

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
    if not sys.is_finalizing():  # the process ends anyway
        _send_later()
    return True


def _send_later() -> None:
    # Sent at once, it would come before the hook has returned, and be lost too. `threading` would wait for the start of
    # the thread, with a lock that the interrupted code may hold.
    try:
        _thread.start_new_thread(_send_after_pause, ())
    except RuntimeError:  # no thread can be started
        if not _set_alarm():
            _send()


def _send_after_pause() -> None:
    time.sleep(_AGAIN_AFTER)
    _send()


def _send() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def _set_alarm() -> bool:
    """Let an alarm send the interrupt, which needs no thread; return False if that is not possible here."""
    if threading.get_ident() != threading.main_thread().ident:
        return False
    before, timer = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    if before == signal.SIG_DFL:
        before = _nothing  # for good: without a handler, an alarm that comes late would end the process
    if not callable(before):
        return False

    def ring(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *timer)  # the program's
        _send()

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, _AGAIN_AFTER)
    return True


def _nothing(_number: int, _frame: object) -> None:
    pass
