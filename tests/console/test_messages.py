"""The console's words for errors: every error of the library has some, and none of them is for programmers."""

from __future__ import annotations

import inspect
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cidrgate import NewEntry, RuleManager, errors
from cidrgate.errors import CidrgateError, Problem, RuleError
from cidrgate.rules import RULES, validate_addition
from cidrgate.serialization import error_data
from cidrgate.service import console
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.service.console.details import detail_of_text
from cidrgate.service.console.messages import WORDS, hint_of, message_of, parent_message
from cidrgate.service.http.problems import ForbiddenError, ServiceError
from cidrgate.values import DETAILS
from tests.golden_rules import BROKEN

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = sorted(
    {
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, CidrgateError) and kind is not CidrgateError
    },
    key=lambda kind: kind.__name__,
)

FOR_PROGRAMMERS = re.compile(
    r"""[a-z0-9]+_[a-z0-9]+   # expires_at, lock_out
    | \w\(                    # create_account(
    | [`={}<>]                # `cidrgate account create`, pass allow_empty=True
    | \B'|'\B                 # a text as Python writes it
    | --\w                    # an option of the shell
    | \bIf-Match\b|\bscope\b|\b(None|True|False|null)\b
    | \w+Error\b
    """,
    re.VERBOSE,
)


def assert_for_people(message: str) -> None:
    assert not FOR_PROGRAMMERS.search(message), message
    assert message[:1].isupper() or not message[:1].isalpha(), message
    assert message.endswith("."), message
    assert "cidrgate" not in message


def test_the_pattern_finds_what_programmers_read() -> None:
    for text in (
        "there is no account 'x': create it first",
        "expires_at 2020-01-31T18:00:00+00:00 is in the past",
        "call create_account('x') first",
        "pass allow_empty=True",
        "see `cidrgate history ACCOUNT`",
        "say --empty",
    ):
        assert FOR_PROGRAMMERS.search(text), text


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_has_words_of_the_console(kind: type[CidrgateError]) -> None:
    """With all of its data, with none, and with texts that people type."""
    assert any(base in WORDS for base in kind.__mro__ if base is not CidrgateError), f"give {kind.__name__} words"
    raw = "call create_account('x') first: expires_at"
    values: dict[str, Any] = {
        "account": "acct-1",
        "parent": "acct-0",
        "entries": ["8.8.8.0/24", "1.1.1.1/32"],
        "expires_at": datetime(2020, 1, 1, tzinfo=UTC),
        "accounts": ["acct-1"],
        "field": "label",
        "text": "a\u200bb",
        "scope": "account:x:y",
        "address": "9.9.9.9",
        "session": "0" * 16,
    }
    for data in (values, {}, dict.fromkeys(values, "")):
        assert_for_people(message_of(made(kind, raw, data)))


def made(kind: type[CidrgateError], message: str, data: dict[str, Any]) -> CidrgateError:
    """An error as it is raised, with data as far as its constructor takes them."""
    if issubclass(kind, RuleError):
        return kind([Problem(code="duplicate_entry", text="8.8.8.0/24", position=0, conflicts=("8.8.8.0/24",))])
    error = kind.__new__(kind, message)
    Exception.__init__(error, message)
    for name, default in error_data(kind).items():
        number = name in ("sequence", "later", "token", "expected", "actual")
        value: Any = 7 if number and data else data.get(name, default)
        if name in ("entries", "accounts"):
            value = tuple(value or ())
        setattr(error, name, None if name == "expires_at" and value == "" else value)
    return error


@pytest.mark.parametrize("code", [rule.code for rule in RULES])
def test_every_broken_rule_has_words_of_the_console(code: str) -> None:
    text, listed, policy = BROKEN[code]
    with pytest.raises(RuleError) as error:
        validate_addition([NewEntry(text)], listed, policy)
    found = [problem for problem in error.value.problems if problem.code == code]
    assert found
    for problem in found:
        for known in (None, [], listed):
            assert_for_people(hint_of(problem, known))
    assert_for_people(message_of(error.value))


RAISED: dict[str, tuple[Callable[[RuleManager], object], str]] = {
    "an unknown account": (
        lambda manager: manager.add("nobody", "8.8.8.0/24"),
        "There is no account “nobody”, or you may not see it.",
    ),
    "a name that exists": (lambda manager: manager.create_account("acct-1"), "There is already an account “acct-1”."),
    "no name": (lambda manager: manager.create_account(""), "Type a name."),
    "a space": (
        lambda manager: manager.create_account("a "),
        "The name begins or ends with a space. Leave it out.",
    ),
    "something invisible in a name": (
        lambda manager: manager.create_account("a\u200bb"),
        "The name contains an invisible character (U+200B). Type it again without it.",
    ),
    "separate accents": (
        lambda manager: manager.create_account("e\u0301"),
        "The name is written with separate accents. Write it as “é”.",
    ),
    "a long name": (
        lambda manager: manager.create_account("a" * 300),
        "This name has 300 characters; at most 255 are allowed.",
    ),
    "a subaccount": (
        lambda manager: manager.add("sub-1", "8.8.8.0/24"),
        "“sub-1” is a subaccount and inherits the list of “acct-1”. Change the list there.",
    ),
    "a time that is over": (
        lambda manager: manager.add("acct-1", "1.1.1.1/32", expires_at=datetime.now(UTC) - timedelta(days=1)),
        "This time is in the past. Choose one in the future.",
    ),
    "a long label": (
        lambda manager: manager.add("acct-1", "1.1.1.1/32", label="a" * 300),
        "The label has 300 characters; at most 255 are allowed.",
    ),
    "something invisible in a label": (
        lambda manager: manager.add("acct-1", "1.1.1.1/32", label="a\u200bb"),
        "The label contains an invisible character (U+200B). Type it again without it.",
    ),
    "a token without a name": (
        lambda manager: Credentials(manager._store).create_token("", [Scope("admin")]),
        "Type a name.",
    ),
    "a token for nothing": (lambda _: Scope.parse("account::read"), "Type the account that the token is for."),
    "no change": (
        lambda manager: manager.undo("acct-1", 99),
        "The history does not have this change: it was deleted because of its age, or belongs to another list.",
    ),
    "the beginning": (
        lambda manager: manager.undo("acct-1", manager.history("acct-1")[-1].sequence),
        "This change cannot be undone.",
    ),
    "broken rules": (
        lambda manager: manager.add("acct-1", "8.8.8.8/32, 1.1.1.1"),
        "8.8.8.8/32: 8.8.8.0/24 already covers these addresses. 1.1.1.1: Add the length: 1.1.1.1/32.",
    ),
    "another version": (
        lambda manager: manager.add("acct-1", "1.1.1.1/32", expect_version=9),
        "Another person or program has changed the list. Read it again, then decide.",
    ),
}


@pytest.mark.parametrize("what", RAISED)
def test_what_people_read_when_something_is_refused(what: str) -> None:
    refuse, words = RAISED[what]
    with RuleManager.open("memory://", follow=False) as manager:
        manager.create_account("acct-1")
        manager.create_account("sub-1", parent="acct-1")
        manager.add("acct-1", "8.8.8.0/24")
        with pytest.raises(CidrgateError) as error:
            refuse(manager)
    assert message_of(error.value) == words
    assert_for_people(words)


def test_a_parent_that_is_refused_is_told_as_a_parent() -> None:
    for error in (errors.AccountNotFoundError("x"), errors.SubaccountError("x", account="a", parent="b")):
        assert_for_people(parent_message(error, "a"))
        assert "parent" in parent_message(error, "a")


def test_errors_of_the_service_have_words_too() -> None:
    for error in (
        ForbiddenError("this needs the scope account:acct-1:write"),
        ServiceError("too_many_failures", "wait", {"Retry-After": "7"}),
        ServiceError("idempotency_in_progress", "a request with this Idempotency-Key is being carried out"),
    ):
        assert_for_people(message_of(error))
    assert "7 seconds" in message_of(ServiceError("too_many_failures", "wait", {"Retry-After": "7"}))


def test_forms_say_what_they_want_in_the_same_words() -> None:
    for detail in DETAILS:
        for text in ("a\u200bb", "never", "x" * 300):
            try:
                detail_of_text(detail, text, None)
            except CidrgateError as error:
                assert_for_people(message_of(error))


def test_no_page_shows_the_message_of_an_error_itself() -> None:
    folder = Path(inspect.getfile(console)).parent
    for file in folder.glob("*.py"):
        if file.name == "messages.py":
            continue
        text = file.read_text()
        assert "str(error)" not in text, file.name
        assert "error.detail" not in text, file.name
        assert "{error}" not in text, file.name
    for template in (folder / "templates").glob("*.html"):
        assert "problem.hint" not in template.read_text(), template.name
