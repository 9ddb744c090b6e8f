"""Commands that change something in several commits: if a later one fails, the message says what is stored."""

from __future__ import annotations

import itertools
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from cidrgate import StoreBusyError
from cidrgate.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Cidrgate

NAMES = [f"acct-{number}" for number in range(6)]
DECLARED = json.dumps({"accounts": {name: {"entries": ["8.8.8.0/24"]} for name in NAMES}})
ROWS = "\n".join(["account,cidr", *(f"{name},8.8.8.0/24" for name in NAMES)])

COMMANDS: dict[str, tuple[list[str], str | None, str, int]] = {
    "apply": (["apply", "-"], DECLARED, "2 of 6 accounts are done, and a repetition does the rest", 2),
    "import": (
        ["import", "-", "--format", "csv", "--skip-existing"],
        ROWS,
        "2 accounts are done, and a repetition does the rest",
        2,
    ),
    "add --create": (
        ["add", "acct-0", "8.8.8.0/24", "--create"],
        None,
        "account 'acct-0' was created, without entries, and a repetition adds them",
        1,
    ),
}
"""Commands, their input, what is said of the first commit, and how many accounts there are then."""


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_whose_second_commit_fails_says_what_is_stored(
    command: str, as_json: bool, cidrgate: Cidrgate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cidrgate.manager.rule_manager._ACCOUNTS_A_TRANSACTION", 16)
    monkeypatch.setattr("cidrgate.manager.declared._ACCOUNTS_A_PART", 2)
    arguments, stdin, stored, accounts = COMMANDS[command]
    begin, numbers = SqliteStore.write, itertools.count()

    @contextmanager
    def write(store: SqliteStore, **settings: Any) -> Iterator[Any]:
        if store._path is not None and next(numbers) > 0:
            raise StoreBusyError("the store is locked; nothing was changed: try again")
        with begin(store, **settings) as transaction:
            yield transaction

    with monkeypatch.context() as patch:
        patch.setattr(SqliteStore, "write", write)
        common = ["--lock-timeout", "0.1", *(["--json"] if as_json else [])]
        failed = cidrgate(*arguments, *common, stdin=stdin, status=6)
    said = failed.error["detail"] if as_json else failed.err
    assert f"the store is locked; {stored}: try again" in said
    if as_json:
        assert failed.error["data"] == {"stored": stored}
    assert len(cidrgate.accounts()) == accounts
    cidrgate(*arguments, stdin=stdin)
    assert cidrgate("list", "acct-0", "--json").record["items"][0]["cidr"] == "8.8.8.0/24"
