"""The main job from end to end, for somebody who sees cidrgate for the first time: `make run`.

Every step prints the command a person would type, and runs that command. The accounts it makes are `acme`, which it
leaves alone when there is one, and `demo-00001` and so on, whose lists it replaces; no other is touched. It ends in the
management service, until ctrl-C.
"""

from __future__ import annotations

import argparse
import csv
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from socket import AF_INET, AF_INET6, SO_REUSEADDR, SOL_SOCKET, inet_pton, socket
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from benchmarks.routing_table import routing_table, spread_over_accounts
from cidrgate import AccountNotFoundError, RuleManager

if TYPE_CHECKING:
    from numpy.typing import NDArray

ACCOUNTS = 20_000
ENTRIES = 50
CHECKS = 1_000_000

_ACCOUNT = "acme"
_PORT = 8080
_SEED = 7
_BYTES = 16
_MAPPED = bytes(10) + b"\xff\xff"


def main(arguments: list[str] | None = None) -> None:
    """Run the job on the database the arguments name.

    Args:
        arguments: Those of the command line if None.

    Raises:
        SystemExit: If a command fails.
    """
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_run", description=summary)
    parser.add_argument("database", nargs="?", default="cidrgate.db", help="path or URL of the store")
    parser.add_argument("--no-serve", action="store_true", help="end without the management service")
    chosen = parser.parse_args(arguments)
    database = str(chosen.database)
    started = time.perf_counter()
    shell = _Shell(database)

    _say("1. An account and its list")
    if _has_account(database):
        print(f"The account {_ACCOUNT} is there already and stays as it is.")
    else:
        shell.run("account", "create", _ACCOUNT)
        shell.run("add", _ACCOUNT, "8.8.8.0/24, 2606:4700::/32", "--label", "office")
    shell.run("list", _ACCOUNT)

    _say("2. May this address act for this account?")
    shell.run("check", _ACCOUNT, "8.8.8.8", expected=(0, 1))
    shell.run("explain", _ACCOUNT, "8.8.9.9")
    shell.run("check", _ACCOUNT, "8.8.9.9", expected=(0, 1))

    _say(f"3. The lists of {ACCOUNTS:,} accounts")
    lists = _demo_lists()
    with tempfile.TemporaryDirectory(prefix="cidrgate-") as folder:
        file = Path(folder) / "lists.csv"
        _write_lists(file, lists)
        shell.run("import", str(file), "--replace")

    _say(f"4. {CHECKS:,} checks inside a service's own process")
    _check_many(database, lists)

    _say(f"Done in {time.perf_counter() - started:.0f} seconds. What to type next")
    shell.suggest("list", _ACCOUNT)
    shell.suggest("add", _ACCOUNT, "1.1.1.1/32", "--label", "laptop")
    shell.suggest("explain", "demo-00001", "9.9.9.9")
    shell.suggest("export", "-o", "lists.jsonl")
    print(f"$ {shell.name} --help")
    print("README.md shows the same from Python.")

    if not chosen.no_serve:
        _say("5. The management API, and the console for a browser")
        shell.become("serve", "--link", "--port", str(_free_port()))


class _Shell:
    """Runs `cidrgate` as a person would, and shows what it ran.

    Args:
        database: Path or URL of the store.

    Attributes:
        name: What to type for `cidrgate` in the current directory.
    """

    def __init__(self, database: str) -> None:
        self._environment = {**os.environ, "CIDRGATE_DATABASE": database}
        script = Path(sys.executable).with_name("cidrgate")
        try:
            self.name = str(script.relative_to(Path.cwd()))
        except ValueError:
            self.name = "cidrgate"
        self._option = () if database == "cidrgate.db" else ("--database", database)

    def run(self, *arguments: str, expected: tuple[int, ...] = (0,)) -> None:
        """Show a command and run it; what it prints goes to the terminal.

        Raises:
            SystemExit: If it ends with another status than expected.
        """
        print(f"\n$ {shlex.join(['cidrgate', *arguments])}", flush=True)
        command = [sys.executable, "-m", "cidrgate", *arguments]
        status = subprocess.run(command, env=self._environment, check=False).returncode
        if expected != (0,):
            print(f"exit status {status}")
        if status not in expected:
            sys.exit(status)

    def become(self, *arguments: str) -> NoReturn:
        """Show a command and go on as it: what a terminal sends, ctrl-C too, is for the command alone."""
        print(f"\n$ {shlex.join(['cidrgate', *arguments])}", flush=True)
        os.execve(sys.executable, [sys.executable, "-m", "cidrgate", *arguments], self._environment)

    def suggest(self, *arguments: str) -> None:
        """Show a command that works when it is typed in the current directory."""
        print(f"$ {shlex.join([self.name, *arguments, *self._option])}")


def _free_port() -> int:
    """The port people expect, or another one where that is taken."""
    with socket() as probe:
        probe.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", _PORT))
        except OSError:
            return 0
    return _PORT


def _say(title: str) -> None:
    print(f"\n{title}\n{'-' * len(title)}", flush=True)


def _has_account(database: str) -> bool:
    with RuleManager.open(database, create=True, load=False) as manager:
        try:
            manager.account(_ACCOUNT)
        except AccountNotFoundError:
            return False
        return True


def _demo_lists() -> dict[str, list[str]]:
    table = routing_table()
    lists = spread_over_accounts(table.prefixes, ACCOUNTS, ENTRIES)
    used = sum(map(len, lists.values()))
    print(f"Their networks come from {table.source}:")
    print(f"{used:,} are used, {len(table.prefixes) - used:,} are left out.")
    return lists


def _write_lists(file: Path, lists: dict[str, list[str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("account", "cidr", "label"))
        writer.writerows((account, cidr, "demo") for account, held in lists.items() for cidr in held)


def _check_many(database: str, lists: dict[str, list[str]]) -> None:
    """Ask for a million pairs of account and address at once; every second address is from the account's list."""
    started = time.perf_counter()
    with RuleManager.open(database) as manager:
        matcher = manager.matcher
        print(f"RuleManager.open() took {time.perf_counter() - started:.1f} seconds for {len(matcher):,} accounts.")
        accounts, addresses = _questions(lists)
        rows = matcher.rows(list(lists))[accounts]
        started = time.perf_counter()
        allowed = matcher.allows_many(rows, addresses)
        seconds = time.perf_counter() - started
    print(f"matcher.allows_many() answered {CHECKS:,} checks in {seconds * 1_000:.0f} ms:")
    print(f"{CHECKS / seconds / 1e6:.1f} million checks a second, {np.count_nonzero(allowed):,} allowed.")


def _questions(lists: dict[str, list[str]]) -> tuple[NDArray[np.intp], NDArray[np.uint8]]:
    """Pairs of an account, by its place in `lists`, and an address, IPv4 and IPv6 as `uint8[n, 16]`.

    Every second address is from an entry of its account, the others from any entry of all.
    """
    chance = np.random.default_rng(_SEED)
    entries = [_packed(cidr) for held in lists.values() for cidr in held]
    networks = np.frombuffer(b"".join(network for network, _ in entries), np.uint8).reshape(-1, _BYTES)
    lengths = np.array([length for _, length in entries])
    held = np.array([len(cidrs) for cidrs in lists.values()])
    accounts = chance.integers(len(held), size=CHECKS)
    own = (np.cumsum(held) - held)[accounts] + chance.integers(held[accounts])
    chosen = np.where(np.arange(CHECKS) % 2, chance.integers(len(entries), size=CHECKS), own)
    # How many bits of each byte of an address come after the prefix.
    free = np.clip(8 * np.arange(1, _BYTES + 1) - lengths[chosen, np.newaxis], 0, 8)
    host = chance.integers(256, size=(CHECKS, _BYTES), dtype=np.uint8) & ((1 << free) - 1).astype(np.uint8)
    return accounts, networks[chosen] | host


def _packed(cidr: str) -> tuple[bytes, int]:
    """A network as 16 bytes and a length, IPv4 as the IPv4-mapped network."""
    address, _, length = cidr.partition("/")
    if ":" in address:
        return inet_pton(AF_INET6, address), int(length)
    return _MAPPED + inet_pton(AF_INET, address), 8 * len(_MAPPED) + int(length)


if __name__ == "__main__":
    main()
