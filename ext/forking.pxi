"""What a forked child forgets: readers in other threads of its parent, who will never leave. Part of `_engine.pyx`."""

from readers cimport forget_readers


def _after_fork():
    """Go on in a forked child, where one thread is left, which reads no array: what the others began never ends."""
    for matcher in list(_matchers):
        forget_readers(&(<Matcher>matcher).lists.readers)
        # An `adopt` of another thread has not changed what is looked up, or has changed it as a whole.
        (<Matcher>matcher).adopting = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
