"""How fast a foreign file is imported: 5,000 accounts of 50 networks in several notations, into a new SQLite file.

Each run is the command as people type it, with `--normalize --collapse --skip-existing`, in a process of its own. It is
measured with and without the start of the process, which costs the same for a file of one row. The first import stores
every list; the second one finds that every network is there.
"""

from __future__ import annotations

import argparse
import csv
import random
import subprocess
import sys
import tempfile
import time
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCOUNTS = 5_000
NETWORKS = 50
_SEED = 17
_OPTIONS = ("--columns", "account=customer_id,cidr=ip,label=comment", "--normalize", "--collapse", "--skip-existing")


def rows(accounts: int) -> Iterator[tuple[str, str, str]]:
    """Yield the rows of a customer's file: most networks are CIDRs, and the others are what people write instead."""
    chosen = random.Random(_SEED)
    for account in range(accounts):
        first = chosen.randrange(11, 99)
        for number in range(NETWORKS):
            # One account in ten has networks that are neighbours.
            third = number if account % 10 == 0 else 5 * number
            network = IPv4Network(((first << 24) + (account % 200 << 16) + (third << 8), 24))
            address = network[chosen.randrange(1, 255)]
            written = [
                *[str(network)] * 30,
                *[str(address)] * 6,
                f"{address}/32",
                f"{address}/24",
                f"{address} 255.255.255.0",
                f"{network[0]}-{network[255]}",
            ]
            yield f"customer-{account}", chosen.choice(written), f"office {number}"


def _imported(folder: Path, file: Path) -> float:
    """Import a file, and return how many seconds that took."""
    command = [sys.executable, "-m", "cidrgate", "-d", str(folder / "lists.db"), "import", str(file), *_OPTIONS]
    started = time.perf_counter()
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"the import failed: {done.stderr[-2_000:]}")
    return seconds


def main(arguments: list[str] | None = None) -> None:
    """Print the rows in a second.

    Args:
        arguments: Those of the command line if None.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.importing", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--accounts", type=int, default=ACCOUNTS, help="how many accounts the file has")
    accounts: int = parser.parse_args(arguments).accounts
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, number in (("one.csv", 1), ("customers.csv", accounts)):
            with (folder / file).open("w", newline="") as stream:
                writer = csv.writer(stream)
                writer.writerow(("customer_id", "ip", "comment"))
                writer.writerows(rows(number))
        start = _imported(folder, folder / "one.csv")
        total = accounts * NETWORKS
        for what in ("first import", "everything is there"):
            seconds = _imported(folder, folder / "customers.csv")
            print(
                f"{what}: {total:,} rows of {accounts:,} accounts in {seconds:.2f} s, {total / seconds:,.0f} rows/s; "
                f"{total / (seconds - start):,.0f} rows/s without the {start:.2f} s in which the process starts"
            )


if __name__ == "__main__":
    main()
