"""A writer that is killed between the commit of a change and its publication: `python -m tests.killed_writer URL`."""

from __future__ import annotations

import os
import signal
import sys

from cidrgate import RuleManager
from cidrgate.replica.published_store import PublishedStore


def die(_published: PublishedStore, **_arguments: object) -> bool:
    """End as by `kill -9`."""
    os.kill(os.getpid(), signal.SIGKILL)
    return False


if __name__ == "__main__":
    manager = RuleManager.open(sys.argv[1], follow=False, create=True)
    PublishedStore.catch_up = die  # type: ignore[method-assign, assignment]
    manager.replace("acct-1", "9.9.9.9/32", actor="killed")
