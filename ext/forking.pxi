"""Resets the readers in a forked child: readers in the parent's other threads never leave. Part of `_engine.pyx`."""

from readers cimport forget_readers
from traffic cimport forget_notes


def _after_fork():
    """Reset all matchers in a forked child. Its only thread reads no array, and the other threads' reads never end."""
    for matcher in list(_matchers):
        forget_readers(&(<Matcher>matcher).lists.readers)
        forget_notes((<Matcher>matcher).traffic)
        # An `adopt` in another thread has replaced either none or all of the lists.
        (<Matcher>matcher).adopting = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
