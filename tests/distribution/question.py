"""Asks an installed cidrgate some questions: whether a wheel works on the machine that it was built for.

It needs the package alone, not the checkout that this file lies in.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import cidrgate
from cidrgate import Gate, Matcher, PrefixTrie, RuleError, RuleManager


def main() -> None:
    """Ask the engine, a manager on a SQLite file, and a gate."""
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24", "2606:4700::/32"])
    _expect(matcher.allows_many("acct-1", ["8.8.8.8", "2606:4700::1", "9.9.9.9"]).tolist(), [True, True, False])
    _expect(PrefixTrie({"8.0.0.0/8": "wide", "8.8.8.0/24": "narrow"}).lookup("8.8.8.8"), "narrow")

    with tempfile.TemporaryDirectory() as folder:
        manager = RuleManager.open(Path(folder, "lists.db"), create=True)
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        gate = Gate(manager, unlisted="deny", log="none")
        verdicts = [gate.decide("acct-1", address).result for address in ("8.8.8.8", "9.9.9.9")]
        _expect([str(verdict) for verdict in verdicts], ["allowed", "denied"])
        try:
            manager.add("acct-1", "8.8.0.0/16")
        except RuleError as error:
            _expect([problem.code for problem in error.problems], ["superset_conflict"])
        else:
            sys.exit("a list took a network that covers another one")
        manager.close()
    print(f"cidrgate {cidrgate.__version__} in {Path(cidrgate.__file__).parent} answers")


def _expect(answer: object, expected: object) -> None:
    if answer != expected:
        sys.exit(f"{expected!r} was expected, the answer is {answer!r}")


if __name__ == "__main__":
    main()
