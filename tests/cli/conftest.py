"""A `cidrgate` command to type at, on a database of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.command_line import typed
from tests.new_stores import new_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Answer:
    """What a command printed and how it ended."""

    status: int
    out: str
    err: str

    @property
    def record(self) -> dict[str, Any]:
        made: dict[str, Any] = json.loads(self.out)
        return made

    @property
    def error(self) -> dict[str, Any]:
        made: dict[str, Any] = json.loads(self.err)["error"]
        assert made["exit_status"] == self.status
        return made


class Cidrgate:
    """Types commands; `typed` fails the test when one ends with another status than expected."""

    def __init__(self, database: Path) -> None:
        self.database = database
        self.environment: dict[str, str | None] = {"CIDRGATE_DATABASE": str(database), "CIDRGATE_ACTOR": "tester"}

    def __call__(
        self,
        *arguments: str,
        status: int = 0,
        stdin: str | bytes | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Answer:
        result = typed(arguments, stdin, {**self.environment, **(environment or {})})
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == status, (result.exit_code, result.stdout, result.stderr)
        return Answer(result.exit_code, result.stdout, result.stderr)

    def accounts(self) -> list[str]:
        """The names of all accounts."""
        return [account["name"] for account in self("account", "list", "--json").record["items"]]

    def listed(self, account: str) -> list[tuple[str, str | None]]:
        """The networks and labels of an account."""
        entries = self("list", account, "--json").record["items"]
        return [(entry["cidr"], entry["label"]) for entry in entries]


@pytest.fixture
def cidrgate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cidrgate:
    """In a directory with an empty database alone, with no settings but the database and the actor."""
    for name in ("CIDRGATE_MAX_ENTRIES", "CIDRGATE_ALLOW_SPECIAL", "CIDRGATE_DATABASE_FILE", "CIDRGATE_JSON"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    new_file(tmp_path / "lists.db")
    return Cidrgate(tmp_path / "lists.db")


@pytest.fixture
def no_database(cidrgate: Cidrgate) -> None:
    """The directory is empty."""
    cidrgate.database.unlink()
