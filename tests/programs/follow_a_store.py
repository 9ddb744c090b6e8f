"""Follows a store that other processes change: `follow_a_store.py DATABASE`.

It prints `ready`, then each answer about an address as it changes, until it was allowed once and denied again.
"""

import sys
import time

from cidrgate import RuleManager


def main(database: str) -> None:
    """Ask the matcher until another process has changed the list twice."""
    with RuleManager.open(database, max_staleness=30, on_stale="deny") as manager:
        allows = manager.matcher.allows_enforced
        print("ready", flush=True)
        for expected in (True, False):
            while allows("acct-1", "9.9.9.9") is not expected:
                if manager.stale:
                    raise SystemExit("the lists are stale")
                time.sleep(0.01)
            print("allowed" if expected else "denied", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
