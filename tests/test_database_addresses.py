"""One address of a database for every entrance: the library, the commands, the environment, a file, Django."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from typer.testing import CliRunner

from cidrgate import RuleManager, StoreError
from cidrgate.cli.app import app
from cidrgate.middleware.django import Settings
from cidrgate.stores import migrate_store, open_store
from cidrgate.stores.urls import store_of
from tests.middleware import django_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.postgres import PostgresServer

assert django_project.urlpatterns


class RefusedError(Exception):
    """What an entrance said of an address."""


# ----------------------------------------------------------------------------------------------------------------------
# The entrances: each opens what an address names, and tells which accounts are there.


def the_store(address: str) -> list[str]:
    with library():
        store = open_store(address)
    try:
        with store.read() as transaction:
            return [account.name for account in transaction.accounts()]
    finally:
        store.close()


def an_opened_manager(address: str) -> list[str]:
    with library(), RuleManager.open(address, follow=False) as manager:
        return [account.name for account in manager.accounts()]


def a_connected_manager(address: str) -> list[str]:
    with library(), RuleManager.open(address, load=False) as manager:
        return [account.name for account in manager.accounts()]


def the_migration(address: str) -> list[str]:
    with library():
        migrate_store(address)
    return an_opened_manager(address)


@contextmanager
def library() -> Iterator[None]:
    """What the library refuses is refused as every other entrance does it."""
    try:
        yield
    except StoreError as error:
        raise RefusedError(str(error)) from error


def the_command(*options: str, variable: str | None = None, file: str | None = None) -> list[str]:
    environment = {"CIDRGATE_DATABASE": variable, "CIDRGATE_DATABASE_FILE": file, "COLUMNS": "1000"}
    result = CliRunner().invoke(app, [*options, "--json"], env=environment)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    if result.exit_code:
        assert result.exit_code == 2
        raise RefusedError(json.loads(result.stderr)["error"]["detail"])
    return [account["name"] for account in json.loads(result.stdout)["items"]]


def the_option_before(address: str) -> list[str]:
    return the_command("--database", address, "account", "list")


def the_option_after(address: str) -> list[str]:
    return the_command("account", "list", "-d", address)


def the_variable(address: str) -> list[str]:
    return the_command("account", "list", variable=address)


def the_file(address: str) -> list[str]:
    file = Path("secret")
    file.write_text(f"{address}\n")
    return the_command("account", "list", file=str(file))


def the_setting_of_django(address: str) -> list[str]:
    settings = {
        "ACCOUNT": lambda request: "acct-1",
        "DATABASE": address,
        "UNLISTED": "deny_unknown",
        "OPEN": {"follow": False},
        "LOG": "none",
    }
    try:
        with override_settings(CIDRGATE=settings):
            gate = Settings.read().make_gate()
    except (ImproperlyConfigured, StoreError) as error:
        raise RefusedError(str(error)) from error
    known = gate.decide("acct-1", "9.9.9.9").reason != "unknown_account"
    manager: Any = gate._manager
    manager.close()
    return ["acct-1"] if known else []


LIBRARY = [the_store, an_opened_manager, a_connected_manager, the_setting_of_django]
SHELL = [the_option_before, the_option_after, the_variable, the_file]
entrances = pytest.mark.parametrize("entrance", [*LIBRARY, the_migration, *SHELL], ids=lambda each: each.__name__)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, beside the user's home."""
    for name in list(os.environ):
        if name.startswith("CIDRGATE_"):
            monkeypatch.delenv(name)
    folder, found = tmp_path / "work", tmp_path / "home"
    folder.mkdir()
    found.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(found))
    return found


def filled(address: str | Path) -> None:
    with RuleManager.open(address, create=True, load=False) as manager:
        manager.create_account("acct-1")


@entrances
@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("lists.db", "lists.db"),
        ("./lists.db", "lists.db"),
        ("./li:sts.db", "li:sts.db"),
        ("~lists.db", "~lists.db"),
        ("{work}/lists.db", "lists.db"),
        ("~/lists.db", "../home/lists.db"),
        ("sqlite:///lists.db", "lists.db"),
        ("sqlite:////{work}/lists.db", "lists.db"),
        ("sqlite:///~/lists.db", "../home/lists.db"),
    ],
)
def test_a_file_has_the_same_names_everywhere(
    entrance: Callable[[str], list[str]], address: str, place: str, tmp_path: Path
) -> None:
    filled(Path(place))
    assert entrance(address.format(work=tmp_path / "work")) == ["acct-1"]


@entrances
@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_a_server_has_the_same_names_everywhere(
    entrance: Callable[[str], list[str]], scheme: str, postgres_url: str
) -> None:
    filled(postgres_url)
    assert entrance(postgres_url.replace("postgresql", scheme)) == ["acct-1"]


def test_a_pooler_may_have_either_scheme(shared_postgres_server: PostgresServer) -> None:
    url = shared_postgres_server.new_database()
    filled(url)
    pooled = url.replace("postgresql", "postgres")
    assert the_store(f"{pooled}?pooled_url={quote(pooled, safe='')}") == ["acct-1"]


NO_ADDRESS = {
    "": "empty",
    "  ": "empty",
    "mysql://host/lists": "no such kind of store",
    "postgre://host/lists": "did you mean postgresql://",
    "postgresq://host/lists": "did you mean postgresql://",
    "Postgresql://host/lists": "did you mean postgresql://",
    "postgresql+psycopg2://host/lists": "did you mean postgresql://",
    "postgresql://": "no host",
    "postgres://": "no host",
    "postgresql:/host/lists": "://",
    "sqlite3:///lists.db": "did you mean sqlite://",
    "sqlite:lists.db": "://",
    "sqlite://": "no file",
    "sqlite:///": "no file",
    "sqlite://lists.db": "three slashes",
    "sqlite:///:memory:": "memory://",
    ":memory:": "memory://",
    "memory:": "memory://",
    "memory://lists": "nothing follows",
    "file:///lists.db": "only its path",
    r"C:\lists.db": "Windows",
    "C:/lists.db": "Windows",
    r"\\server\lists.db": "Windows",
    "sqlite:///C:/lists.db": "Windows",
    "'lists.db'": "quotes",
    " lists.db": "whitespace",
    "lists.db\n\n": "line",
    "host=db dbname=lists": "needs a URL",
    "lists\x00.db": "NUL",
}


@entrances
@pytest.mark.parametrize(("address", "why"), NO_ADDRESS.items(), ids=map(repr, NO_ADDRESS))
def test_what_is_no_address_is_refused_everywhere_with_the_reason(
    entrance: Callable[[str], list[str]], address: str, why: str
) -> None:
    if entrance is the_variable and "\0" in address:
        return  # no environment can hold it
    before = sorted(Path.cwd().parent.rglob("*"))
    with pytest.raises(RefusedError) as refusal:
        entrance(address)
    said = str(refusal.value)
    if entrance in (the_file, the_variable) and not address.strip():
        assert "empty" in said
    elif address.endswith("\n"):
        assert "whitespace" in said or "more than one line" in said
    else:
        assert why in said
        assert "sqlite:////absolute/path.db, postgresql://user@host:port/database" in said
    assert [path for path in sorted(Path.cwd().parent.rglob("*")) if path.name != "secret"] == before


@pytest.mark.parametrize("entrance", LIBRARY, ids=lambda each: each.__name__)
def test_the_library_keeps_lists_in_memory(entrance: Callable[[str], list[str]]) -> None:
    assert entrance("memory://") == []


@pytest.mark.parametrize("entrance", SHELL, ids=lambda each: each.__name__)
def test_a_command_says_why_it_does_not(entrance: Callable[[str], list[str]]) -> None:
    with pytest.raises(RefusedError, match="ends with its process"):
        entrance("memory://")


@pytest.mark.parametrize("entrance", LIBRARY, ids=lambda each: each.__name__)
def test_the_library_takes_paths_and_no_other_values(entrance: Callable[[Any], list[str]]) -> None:
    filled(Path("lists.db"))
    assert entrance(Path("lists.db")) == ["acct-1"]
    for address in (None, b"lists.db", 5):
        with pytest.raises(RefusedError, match="not text"):
            entrance(address)


def test_a_path_is_taken_as_it_is(home: Path) -> None:
    """No shell expands it either."""
    assert store_of(Path("~/lists.db")) == ("sqlite", "~/lists.db")


def test_the_option_wins_over_the_variables() -> None:
    filled("lists.db")
    options = ["account", "list", "-d", "lists.db"]
    assert the_command(*options, variable="nonsense://", file="/no/such/file") == ["acct-1"]
    assert the_command("-d", "lists.db", "account", "list", variable="nonsense://") == ["acct-1"]


def test_both_variables_at_once_are_refused() -> None:
    filled("lists.db")
    Path("secret").write_text("lists.db")
    with pytest.raises(RefusedError, match="CIDRGATE_DATABASE and CIDRGATE_DATABASE_FILE are both set"):
        the_command("account", "list", variable="lists.db", file="secret")


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_the_end_of_the_line_in_a_file_does_not_count(end: str) -> None:
    filled("lists.db")
    Path("secret").write_bytes(f"lists.db{end}".encode())
    assert the_command("account", "list", file="secret") == ["acct-1"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "No such file"),
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b" \r\n", "is empty"),
        (b"lists.db\nanother.db\n", "more than one line"),
        (b"postgresql://me:\xffhunter2@host/lists", "not text in UTF-8"),
        (b"x" * 100_000, "more than one line"),
    ],
)
def test_a_file_that_holds_no_address_is_refused(content: bytes | None, why: str) -> None:
    if content is not None:
        Path("secret").write_bytes(content)
    with pytest.raises(RefusedError, match=why) as refusal:
        the_command("account", "list", file="secret")
    assert "CIDRGATE_DATABASE_FILE" in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_what_is_no_file_is_refused() -> None:
    os.mkfifo("pipe")  # which would be waited for
    for name in ("pipe", "."):
        with pytest.raises(RefusedError, match="is not a file"):
            the_command("account", "list", file=name)
    with pytest.raises(RefusedError, match="CIDRGATE_DATABASE_FILE is set and empty"):
        the_command("account", "list", file="")


def test_a_file_that_cannot_be_read_is_refused() -> None:
    """Root reads every file but this one, where nothing is mapped."""
    file = Path("secret")
    if os.geteuid():
        file.write_text("lists.db")
        file.chmod(0)
    else:
        file.symlink_to("/proc/self/mem")
    with pytest.raises(RefusedError, match="cannot be read"):
        the_command("account", "list", file=str(file))
