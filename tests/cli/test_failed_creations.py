"""A command that fails leaves no empty store behind: `authorize` would start with it, and deny nobody."""

from __future__ import annotations

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from cidrgate import InvalidCopyError, RuleManager
from tests.command_line import typed
from tests.ordinary_user import an_ordinary_user

if TYPE_CHECKING:
    from tests.cli.conftest import Cidrgate

DOCS = Path(__file__).parents[2] / "docs" / "cli.md"

EXPORT = '{"format": "cidrgate export", "version": 1}\n'

FILES: dict[str, str | bytes] = {
    "empty": "",
    "garbage": b"\x00\xff\x01\xfe" * 64,
    "no-rows.csv": "account,cidr\n",
    "bad-rows.csv": "account,cidr\nacct-1,10.0.0.0/8\nacct-2,junk\n",
    "cut.jsonl": EXPORT,
    "broken.json": "{",
    "bad.json": '{"accounts": {"acct-1": {"entries": ["10.0.0.0/8"]}}}',
    "parentless.json": '{"accounts": {"acct-1": {"parent": "nobody"}}}',
}
"""Files that lie beside the store."""

FAILURES: dict[str, list[list[str]]] = {
    "account create": [[""], ["acct-1", "--parent", "nobody"], ["a" * 300]],
    "add": [
        ["acct-1", "10.0.0.0/8", "--create"],
        ["acct-1", "junk", "--create"],
        ["", "8.8.8.0/24", "--create"],
        ["acct-1", "8.8.8.0/24", "--create", "--label", "\x00"],
        ["acct-1", "8.8.8.0/24", "--create", "--expect-version", "7"],
    ],
    "apply": [["broken.json"], ["bad.json"], ["bad.json", "--strict"], ["parentless.json"], ["missing.json"]],
    "import": [
        ["empty"],
        ["garbage"],
        ["bad-rows.csv"],
        ["bad-rows.csv", "--strict"],
        ["cut.jsonl"],
        ["backup.jsonl"],
        ["cut-backup.jsonl"],
        ["missing.csv"],
    ],
    "migrate": [["--grant", "somebody"], ["too much"]],
    "restore-backup": [["/dev/null"], ["empty"], ["garbage"], ["export.jsonl"], ["cut-backup.jsonl"], ["missing"]],
    "serve": [
        ["--allow-account", "nobody"],
        ["--snapshot", "-"],
        ["--allow", "junk"],
        ["--tls-certificate", "garbage"],
        ["--uds", "no/such/folder/socket", "--trusted-proxy", "unix:"],
        ["--host", "203.0.113.1"],
    ],
    "token create": [
        ["ops", "--scope", "account:nobody:read"],
        ["ops", "--scope", "junk"],
        ["", "--scope", "admin"],
        ["ops", "--scope", "admin", "--expires-in", "junk"],
    ],
}
"""How each command that creates a missing store fails."""

ROWS = [(command, arguments) for command, rows in FAILURES.items() for arguments in rows]


@pytest.fixture
def nothing(cidrgate: Cidrgate, no_database: None, tmp_path: Path) -> Cidrgate:
    """A directory with files, and without a store."""
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    made = tmp_path / "made"
    made.mkdir()
    cidrgate("-d", "made/lists.db", "add", "acct-1", "8.8.8.0/24", "--create")
    cidrgate("-d", "made/lists.db", "backup", "backup.jsonl")
    cidrgate("-d", "made/lists.db", "export", "--output", "export.jsonl")
    whole = (tmp_path / "backup.jsonl").read_bytes()
    (tmp_path / "cut-backup.jsonl").write_bytes(whole[: len(whole) // 2])
    return cidrgate


def beside(database: Path) -> set[str]:
    """The store and every file that SQLite keeps beside it."""
    return {one.name for one in database.parent.glob(f"{database.name}*")}


def test_the_table_has_every_command_that_creates_a_store() -> None:
    [sentence] = re.findall(r"Only (`account create`.*?) create a\nmissing database", DOCS.read_text())
    named = {name.partition(" --")[0] for name in re.findall(r"`(.+?)`", sentence)}
    assert named == FAILURES.keys()


@pytest.mark.parametrize(("command", "arguments"), ROWS, ids=[" ".join([one, *more])[:60] for one, more in ROWS])
def test_a_failed_command_leaves_no_store(command: str, arguments: list[str], nothing: Cidrgate) -> None:
    run = typed([*command.split(), *arguments], "", nothing.environment)
    assert run.exit_code in range(2, 7), (run.exit_code, run.stdout, run.stderr)
    assert "Traceback" not in run.stderr
    assert beside(nothing.database) == set()
    nothing("authorize", "--unlisted", "allow", "--port", "0", status=6)


def test_a_file_that_was_there_before_stays(nothing: Cidrgate) -> None:
    """Also an empty one, which `mktemp` may have made."""
    nothing.database.touch()
    nothing("restore-backup", "empty", status=3)
    assert nothing.database.exists()
    nothing.database.unlink()
    nothing("migrate")
    nothing("restore-backup", "empty", status=3)
    nothing("add", "acct-1", "10.0.0.0/8", "--create", status=3)
    assert nothing.accounts() == []


def test_a_store_that_another_process_has_open_stays(nothing: Cidrgate, monkeypatch: pytest.MonkeyPatch) -> None:
    others: list[RuleManager] = []

    def restore(manager: RuleManager, *_arguments: object, **_more: object) -> None:
        others.append(RuleManager.open(nothing.database, load=False))
        raise InvalidCopyError("the file is damaged")

    monkeypatch.setattr(RuleManager, "restore_backup", restore)
    nothing("restore-backup", "empty", status=3)
    with others[0] as other:
        other.create_account("acct-1")
    assert nothing.accounts() == ["acct-1"]


@pytest.mark.parametrize(
    "more",
    [
        ["junk"],
        ["8.0.0.0/5"],
        ["8.8.8.0/24", "--label", "\u200b"],
        ["8.8.8.0/24", "--expect-version", "7"],
        ["8.8.8.0/24", "--expires-at", "2020-01-01T00:00+00:00"],
    ],
    ids=" ".join,
)
def test_a_first_change_that_is_refused_creates_no_account(more: list[str], cidrgate: Cidrgate) -> None:
    run = typed(["add", "acct-1", *more, "--create"], "", cidrgate.environment)
    assert run.exit_code in range(2, 7), run.stderr
    assert cidrgate.accounts() == []


def test_a_first_change_follows_the_policy_of_the_store(cidrgate: Cidrgate) -> None:
    cidrgate("policy", "set", "--allow-special")
    cidrgate("add", "acct-1", "10.0.0.0/8", "--create", "--dry-run")
    assert cidrgate.accounts() == []
    cidrgate("add", "acct-1", "10.0.0.0/8", "--create")
    assert cidrgate.listed("acct-1") == [("10.0.0.0/8", None)]


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]], ids=["stored", "tried"])
def test_a_directory_that_cannot_be_searched_is_named(dry_run: list[str]) -> None:
    with TemporaryDirectory() as name:
        path = Path(name) / "lists.db"
        command = ["-d", str(path), "add", "acct-1", "8.8.8.0/24", "--create", *dry_run]
        assert typed(command).exit_code == 0
        path.parent.chmod(0o000)
        with an_ordinary_user():
            result = typed(command)
        path.parent.chmod(0o700)
        assert result.exit_code == 6
        assert "cannot be opened: Permission denied" in result.stderr
