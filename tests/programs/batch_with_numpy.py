"""Checks the addresses of a log in arrays, and joins them with the networks of a table."""

import ipaddress
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cidrgate import Matcher, PrefixTrie


def addresses_of(text: str) -> NDArray[np.uint32]:
    """IPv4 addresses as numbers."""
    return np.array([int(ipaddress.IPv4Address(one)) for one in text.split()], dtype=np.uint32)


def main() -> None:
    """Ask for two accounts, from a file that processes share."""
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24"])
    matcher.publish("acct-2", ["1.1.1.0/24", "2606:4700::/32"])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lists.snapshot"
        matcher.save(path)
        shared = Matcher.open(path)

    log = addresses_of("8.8.8.8 1.1.1.1 9.9.9.9 8.8.8.1")
    rows = shared.rows(["acct-1", "acct-2", "acct-1", "acct-1"])
    allowed: NDArray[np.bool_] = shared.allows_many(rows, log)
    print(allowed.tolist(), int(np.count_nonzero(~allowed)))

    answers = np.empty(2, dtype=np.bool_)
    shared.allows_many("acct-2", ["2606:4700::1", "2606:4800::1"], out=answers)
    print(answers.tolist())

    table = PrefixTrie({"8.0.0.0/8": "us", "8.8.8.0/24": "dns"})
    values = [*table.values(), "none"]
    print([values[index] for index in table.lookup_many(log)])


if __name__ == "__main__":
    main()
