"""No message holds the password of a database, however its URL is written, misspelt or misplaced."""

from __future__ import annotations

import ast
import logging
import re
import subprocess
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from cidrgate import CidrgateError, RuleManager
from cidrgate.stores import migrate_store, open_store
from cidrgate.stores.urls import redacted, redacted_message
from tests.command_line import typed
from tests.servers.running import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.postgres import PostgresServer

SECRET = "hunter2"
"""Stands in every URL; no part of it stands anywhere else."""

HERE = f"127.0.0.1:{free_port()}"
"""Where nothing listens; the names of tests must not hold it, as it differs between processes."""

URLS = [
    f"postgresql://me:{SECRET}@{HERE}/lists",
    f"postgresql+psycopg://me:{SECRET}@{HERE}/lists",
    f"postgresql://:{SECRET}@{HERE}/lists",
    f"postgresql://me:{SECRET}%40x@{HERE}/lists",
    f"postgresql://me:x@{SECRET}@{HERE}/lists",
    f"postgresql://me:x/{SECRET}@{HERE}/lists",
    f"postgresql://me:x?{SECRET}@{HERE}/lists",
    f"postgresql://me:x#{SECRET}@{HERE}/lists",
    f"postgresql://me:x:{SECRET}@{HERE}/lists",
    f"postgresql://me/{SECRET}@{HERE}/lists",
    f"postgresql://me:{SECRET}",
    f"postgresql://me:{SECRET}/lists",
    f"postgresql://me:{SECRET}@[::1/lists",
    f"postgresql://me:x@127.0.0.1:{SECRET}/lists",
    f"postgresql://{HERE}/lists?user=me&password={SECRET}",
    f"postgresql://{HERE}/lists?password=x@{SECRET}",
    f"postgresql:///lists?host=127.0.0.1&port=1&password={SECRET}",
    f"postgresql://me@{HERE}/lists?sslpassword={SECRET}",
    f"postgresql://me@{HERE}/lists?passfile=/no/{SECRET}",
    f"postgresql://me@{HERE}/lists?PASSWORD={SECRET}",
    f"postgresql://me@{HERE}/lists?pasword={SECRET}",
    f"postgresql://me@{HERE}/lists?p%61ssword={SECRET}",
    f"postgresql://me@{HERE}/lists?password={SECRET}&schema=a-b",
    f"postgresql://me@{HERE}/lists?schema=x;password={SECRET}",
    f"postgresql://me:{SECRET}@{HERE}/lists?schema=a-b",
    f"postgresql://me:{SECRET}@{HERE}/lists?sslmode=nonsense",
    f"postgresql://me:{SECRET}@{HERE}/lists?connect_timeout=soon",
    f"postgres://me:{SECRET}@{HERE}/lists",
    f"postgresq://me:{SECRET}@{HERE}/lists",
    f"Postgresql://me:{SECRET}@{HERE}/lists",
    f"postgresql:/me:{SECRET}@{HERE}/lists",
    f"postgresql:me:{SECRET}@{HERE}/lists",
    f"postgresql//me:{SECRET}@{HERE}/lists",
    f"//me:{SECRET}@{HERE}/lists",
    f"me:{SECRET}@{HERE}/lists",
    f" postgresql://me:{SECRET}@{HERE}/lists",
    f"'postgresql://me:{SECRET}@{HERE}/lists'",
    f'"postgresql://me:{SECRET}@{HERE}/lists',
    f"<postgresql://me:{SECRET}@{HERE}/lists>",
    f"DATABASE=postgresql://me:{SECRET}@{HERE}/lists",
    f"mysql://me:{SECRET}@{HERE}/lists",
    f"mysql://{HERE}/lists?user=me&password={SECRET}",
    f"jdbc:postgresql://{HERE}/lists?user=me&password={SECRET}",
    f"redis://:{SECRET}@{HERE}/0",
    f"memory://me:{SECRET}@{HERE}",
    f"sqlite://me:{SECRET}@{HERE}/lists",
    f"sqlite:///me:{SECRET}@{HERE}/lists",
    f"sqlite:///no/lists.db?password={SECRET}",
    f"sqlite:////no/where/me:{SECRET}@x.db",
    f"host=127.0.0.1 user=me password={SECRET} dbname=lists",
    f"host=127.0.0.1 user=me password = '{SECRET} x' dbname=lists",
    f"password={SECRET} host=127.0.0.1",
    f"dbname=lists sslpassword={SECRET}",
    f"no/where/password={SECRET}/lists.db",
]

MISPLACED = [
    f"postgresql://me:{SECRET}@{HERE}/lists",
    f"postgresql://:{SECRET}@{HERE}/lists",
    f"postgresql://me:x@{SECRET}@{HERE}/lists",
    f"postgresql://me/{SECRET}@{HERE}/lists",
    f"postgresql://{HERE}/lists?password=x@{SECRET}",
    f"postgresql:/me:{SECRET}@{HERE}/lists",
    f"//me:{SECRET}@{HERE}/lists",
    f"host=127.0.0.1 password='{SECRET}' user=me",
]
"""What can be told to be a URL or settings wherever it stands."""

COMMANDS = [
    ["account", "list"],
    ["account", "create", "a"],
    ["list", "a"],
    ["check", "a", "8.8.8.8"],
    ["explain", "a", "8.8.8.8"],
    ["history", "a"],
    ["export"],
    ["import", "-", "--format", "csv"],
    ["add", "a", "8.8.8.0/24", "--create"],
    ["edit", "a", "8.8.8.0/24", "8.8.4.0/24"],
    ["remove", "a", "8.8.8.0/24"],
    ["replace", "a", "8.8.8.0/24"],
    ["restore", "a", "--to-sequence", "1"],
    ["undo", "a", "1"],
    ["prune", "--older-than", "1d", "--yes"],
    ["erase", "--older-than", "1d", "--yes"],
    ["compile", "lists.snapshot"],
    ["migrate"],
    ["authorize"],
    ["serve", "--port", "0", "--authorize"],
    ["token", "list"],
    ["token", "create", "ops", "--scope", "admin"],
    ["token", "revoke", "1"],
]


@pytest.fixture(autouse=True)
def somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE", "DATABASE_FILE", "ACTOR", "MAX_ENTRIES", "ALLOW_SPECIAL", "JSON"):
        monkeypatch.delenv(f"CIDRGATE_{name}", raising=False)


def everything_said(error: BaseException) -> str:
    """The message, the traceback, and what a debugger or a log shows of the error."""
    return "".join([*traceback.format_exception(error), str(error), repr(error), repr(error.args)])


def opened(url: str) -> None:
    RuleManager.open(url, follow=False).close()


def opened_or_created(url: str) -> None:
    RuleManager.open(url, follow=False, create=True).close()


@pytest.mark.parametrize(
    "use",
    [
        open_store,
        opened,
        opened_or_created,
        partial(RuleManager.open, load=False),
        migrate_store,
        lambda url: open_store(url, create=True).close(),
    ],
    ids=range(6),
)
@pytest.mark.parametrize("url", URLS, ids=range(len(URLS)))
def test_the_library_repeats_no_password(
    use: Callable[[str], Any], url: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.DEBUG):
        try:
            use(url)
        except CidrgateError as error:
            told = everything_said(error)
        else:
            told = ""
    assert SECRET not in told
    assert SECRET not in caplog.text
    assert SECRET not in "".join(capfd.readouterr())


def said(*arguments: str, database: str | None = None) -> str:
    result = typed(arguments, "account,cidr,label\n", {"CIDRGATE_DATABASE": database, "COLUMNS": "1000"})
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.stdout + result.stderr


@pytest.mark.parametrize("number", range(len(COMMANDS)), ids=map(" ".join, COMMANDS))
def test_no_command_repeats_a_password(number: int, caplog: pytest.LogCaptureFixture) -> None:
    """Each URL comes to half of the commands, in one of three ways."""
    command = COMMANDS[number]
    for place in range(number % 2, len(URLS), 2):
        url = URLS[place]
        if place % 3 == 0:
            told = said(*command, database=url)
        else:
            told = said("--database", url, *command, *(["--json"] if place % 3 == 1 else []))
        assert SECRET not in told, url
    assert SECRET not in caplog.text


@pytest.mark.parametrize("url", MISPLACED, ids=range(len(MISPLACED)))
def test_no_error_of_use_repeats_a_password(url: str) -> None:
    """A URL where it does not belong: as a command, an argument, a file, a number, an option nobody knows."""
    migrate_store("lists.db")
    for number, arguments in enumerate(
        [
            [url],
            ["list", url],
            ["list", "a", url],
            ["list", "a", "--databse", url],
            ["list", "a", f"--databse={url}"],
            ["add", "a", "8.8.8.0/24", "--expires-at", url],
            ["restore", "a", "--to-sequence", url],
            ["undo", "a", url],
            ["add", "a", "8.8.8.0/24", "--expires-in", url],
            ["prune", "--older-than", url],
            ["remove", "a", "--id", url],
            ["history", "a", "--cursor", url],
            ["account", "list", "--cursor", url],
            ["token", "create", "ops", "--scope", url],
            ["import", url],
            ["serve", "--port", url],
            ["migrate", url],
        ]
    ):
        assert SECRET not in said("-d", "lists.db", *arguments, *(["--json"] if number % 2 else [])), arguments
        assert SECRET not in said("-d", "lists.db", *arguments, *([] if number % 2 else ["--json"])), arguments


@pytest.mark.parametrize("command", [["--help"], *([*command[:1], "--help"] for command in COMMANDS)], ids=" ".join)
def test_no_help_shows_what_the_environment_says(command: list[str]) -> None:
    assert SECRET not in said(*command, database=URLS[0])


@pytest.mark.parametrize("url", URLS, ids=range(len(URLS)))
def test_no_file_with_an_address_is_repeated(url: str, tmp_path: Path) -> None:
    """Neither where it cannot be used: with a second line, or in an encoding that nobody can read."""
    file = tmp_path / "secret"
    for content in (f"{url}\n".encode(), f"{url}\n{url}\n".encode(), f"{url}\udcff".encode(errors="surrogateescape")):
        file.write_bytes(content)
        run = typed(["list", "a"], environment={"CIDRGATE_DATABASE_FILE": str(file), "COLUMNS": "1000"})
        assert run.exit_code in (2, 6)
        assert SECRET not in run.stdout + run.stderr


def test_a_process_that_fails_repeats_no_password(tmp_path: Path) -> None:
    for url in URLS[:1]:
        run = [sys.executable, "-m", "cidrgate", "-d", url, "list", "a"]
        done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 6
        assert SECRET not in done.stdout + done.stderr


def test_what_is_open_shows_no_password(shared_postgres_server: PostgresServer) -> None:
    """Neither do its failures later on."""
    url = shared_postgres_server.new_database().replace("postgres@", f"postgres:{SECRET}@")
    with RuleManager.open(f"{url}?sslpassword={SECRET}", follow=False) as manager:
        store: Any = manager._store
        assert SECRET not in f"{manager!r} {store!r} {vars(store)!r} {store._database!r} {manager._replica.published!r}"
        manager.create_account("a")
    with pytest.raises(CidrgateError) as refusal:
        manager.accounts()
    assert SECRET not in everything_said(refusal.value)
    assert "postgres:***@" in str(refusal.value)


@given(
    user=st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=5),
    password=st.text(st.characters(codec="ascii", exclude_categories=["Cc"], exclude_characters="@"), min_size=4),
    rest=st.sampled_from(["host/lists", "host:5432/lists?sslmode=require", "", "h"]),
    before=st.sampled_from(["", "error: ", "'", "the store "]),
)
def test_what_stands_before_the_at_sign_is_masked(user: str, password: str, rest: str, before: str) -> None:
    mark = "\u2603"  # in no other part
    for scheme in ("postgresql://", "postgres://", "mysql://"):
        text = f"{before}{scheme}{user}:{mark}{password}{mark}@{rest}"
        assert mark not in redacted(text)
    assert mark not in redacted(f"{before}host=db password={mark}{password}{mark}")


@pytest.mark.parametrize(
    "text", ["/srv/a@b/lists.db", "lists.db", "acct-1", "8.8.8.0/24", "postgresql://me@h/d", "2606:4700::/32"]
)
def test_what_holds_no_password_is_shown(text: str) -> None:
    assert redacted(text) == text


WORDS = st.text(st.sampled_from("abc XYZ019.,;()'\"/-_?!"), max_size=30)
"""Text of a sentence, without what could begin or end a password."""

EXAMPLES = st.sampled_from(
    [
        "",
        "scheme://host",
        "postgresql://user@host:port/database",
        "sqlite:///relative/path.db",
        "1:30 o'clock",
        "me@host",
    ]
)


@given(
    before=st.lists(st.one_of(WORDS, EXAMPLES), max_size=4).map(" ".join),
    after=WORDS,
    example=st.sampled_from(["", "write scheme://host:port", "a path, sqlite:///x.db, memory://", "token:7"]),
    user=st.text(st.sampled_from("abc19."), max_size=5),
    password=st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=9),
)
def test_the_sentence_around_a_masked_url_stays(
    before: str, after: str, example: str, user: str, password: str
) -> None:
    for scheme in ("http", "postgresql", "mysql"):
        told = f"{before} {scheme}://{user}:{{}}@host/lists {after} {example}"
        assert redacted_message(told.format(password)) == told.format("***")


EXAMPLE = re.compile(r"://\S*:")


def sentences() -> Iterator[tuple[str, str]]:
    """Every text of the package with a URL as an example and with a value, and a URL with a password as the value."""
    for path in (Path(__file__).parents[1] / "src" / "cidrgate").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.JoinedStr):
                continue
            parts = [part.value if isinstance(part, ast.Constant) else None for part in node.values]
            literal = "".join(str(part) for part in parts if part is not None)
            if " " not in literal or not EXAMPLE.search(literal):
                continue
            for place, part in enumerate(parts):
                if part is None:
                    told = ["x" if one is None else str(one) for one in parts]
                    told[place] = "'http://me:hunter2@host'"
                    yield f"{path.name}:{node.lineno}", "".join(told)


def test_no_example_in_a_message_is_taken_for_the_beginning_of_a_password() -> None:
    """A message says first what was given, and then how it should look."""
    found = list(sentences())
    assert any("is no public URL" in told for _, told in found)
    eaten = {place: told for place, told in found if redacted_message(told) != told.replace("hunter2", "***")}
    assert eaten == {}


@pytest.mark.parametrize("url", [f"http://me:{SECRET}@h", f"http://me:x {SECRET}@h", f"https://me:{SECRET}@h:1/x?y#z"])
def test_a_public_url_with_a_password_is_explained(url: str) -> None:
    told = said("-d", "lists.db", "serve", "--public-url", url)
    assert SECRET not in told
    assert "***@h" in told
    assert "is no public URL: write scheme://host or scheme://host:port, without a user and a path" in told
    assert SECRET not in said("-d", "lists.db", "serve", "--json", "--public-url", url)
