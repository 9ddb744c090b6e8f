"""Resets the readers in a forked child: readers in the parent's other threads never leave. Part of `_engine.pyx`."""

from readers cimport forget_readers
from traffic cimport forget_notes


cdef object _waits_for_loading = False
cdef double _PATIENCE = 5.0


def _before_fork():
    """Wait until no thread imports NumPy: a child would wait for the end of that import for ever."""
    global _waits_for_loading
    if _loaded_numpy is None and _loading.acquire(timeout=_PATIENCE):
        _waits_for_loading = True


def _after_fork_in_parent():
    """Let threads import NumPy again."""
    global _waits_for_loading
    if _waits_for_loading:
        _waits_for_loading = False
        _loading.release()


def _after_fork():
    """Reset all matchers in a forked child. Its only thread reads no array, and the other threads' reads never end."""
    _after_fork_in_parent()
    for matcher in list(_matchers):
        forget_readers(&(<Matcher>matcher).lists.readers)
        forget_notes((<Matcher>matcher).traffic)
        # An `adopt` in another thread has replaced either none or all of the lists.
        (<Matcher>matcher).adopting = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork)
