"""Ctrl-C at a moment at which no exception can be passed on, as in `__del__` or in a callback of a library in C.

Python prints such an exception and goes on: the interrupt would be lost, and the process would not end.
"""

from __future__ import annotations

import _thread
import atexit
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    Handler = Callable[[int, FrameType | None], object]

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
        if not _alarm.set():
            _send()


def _send_after_pause() -> None:
    time.sleep(_AGAIN_AFTER)
    _send()


def _send() -> None:
    os.kill(os.getpid(), signal.SIGINT)


class _Alarm:
    """An alarm that sends the interrupt, which needs no thread. The program's own alarm comes afterwards."""

    def __init__(self) -> None:
        self._handler: Handler = _nothing  # of the program
        self._timer = 0.0, 0.0
        self._ended = False

    def set(self) -> bool:
        """Let the alarm come a moment later; return False if that is not possible here."""
        if threading.get_ident() != threading.main_thread().ident:
            return False
        if self._ended:  # so does the process
            return True
        handler = signal.getsignal(signal.SIGALRM)
        if handler != self._ring:  # otherwise one alarm sends both interrupts
            if handler == signal.SIG_DFL:
                handler = _nothing  # for good: without a handler, an alarm that comes late would end the process
            if not callable(handler):
                return False
            self._handler, self._timer = handler, signal.getitimer(signal.ITIMER_REAL)
            signal.signal(signal.SIGALRM, self._ring)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_AFTER)
        return True

    def _ring(self, _number: int, _frame: FrameType | None) -> None:
        self._give_back()
        _send()

    def _give_back(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, *self._timer)
        signal.signal(signal.SIGALRM, self._handler)

    def end(self) -> None:
        """Let no alarm come any more: Python takes its handlers away before it ends, and an alarm would kill it."""
        self._ended = True
        if signal.getsignal(signal.SIGALRM) == self._ring:
            self._give_back()
        if signal.getsignal(signal.SIGALRM) is _nothing:
            signal.signal(signal.SIGALRM, signal.SIG_IGN)  # this stays


def _nothing(_number: int, _frame: FrameType | None) -> None:
    pass


_alarm = _Alarm()
atexit.register(_alarm.end)
