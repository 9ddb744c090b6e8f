"""Arguments of another type or outside their range are refused, and nothing is changed or lost."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, cast

import httpx
import pytest

from cidrgate import EntryEdit, HistoryError, InvalidAddressError, InvalidExpiryError, NewEntry, RuleManager
from cidrgate.client import Client
from cidrgate.errors import VersionConflictError, WouldLockOutCallerError
from cidrgate.manager import DeclaredAccount
from cidrgate.rules.decisions import decide

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ACCOUNTS_A_COMMIT = 2_000

_VALUES: dict[str, Any] = {
    "account": "acct-1",
    "cidrs": "8.8.8.0/24",
    "cidr": "8.8.8.0/24",
    "entry": 7,
    "entries": [7],
    "declared": {"acct-1": []},
    "lines": [],
    "lists": {"acct-1": []},
    "name": "acct-2",
    "sequence": 1,
    "to_sequence": 1,
    "url": "memory://",
}
"""What the required arguments of the methods can be."""

_INTERNAL = {"after_fork"}
"""What only the hooks of forks call."""


@pytest.fixture
def manager(store_url: str) -> Iterator[RuleManager]:
    with RuleManager.open(store_url) as opened:
        opened.create_account("acct-1")
        opened.add("acct-1", "8.8.8.0/24")
        yield opened


def _no_request(request: httpx.Request) -> httpx.Response:
    raise AssertionError(f"{request.method} {request.url} was sent")


@pytest.fixture
def client() -> Client:
    return Client("http://service", "secret", http=httpx.Client(transport=httpx.MockTransport(_no_request)))


def _switches() -> Iterator[tuple[type, str, str]]:
    for of in (RuleManager, Client):
        for name, method in inspect.getmembers(of, callable):
            if not name.startswith("_") and name not in _INTERNAL:
                for parameter in inspect.signature(method).parameters.values():
                    if parameter.annotation == "bool":
                        yield of, name, parameter.name


def test_the_switches_are_found() -> None:
    assert (RuleManager, "replace", "allow_empty") in set(_switches())
    assert (RuleManager, "open", "follow") in set(_switches())
    assert (Client, "restore", "allow_lock_out") in set(_switches())


@pytest.mark.parametrize(
    ("of", "method", "switch"), list(_switches()), ids=lambda value: getattr(value, "__name__", value)
)
def test_a_switch_is_true_or_false(manager: RuleManager, client: Client, of: type, method: str, switch: str) -> None:
    call = getattr(manager if of is RuleManager else client, method)
    arguments = {
        name: _VALUES[name]
        for name, parameter in inspect.signature(call).parameters.items()
        if parameter.default is parameter.empty and name in _VALUES
    }
    for value in ("no", "", 0, 1, None):
        with pytest.raises(TypeError, match=f"^{switch} must be True or False, not {value!r}$"):
            call(**arguments, **{switch: value})
    assert [entry.cidr for entry in manager.entries("acct-1")] == ["8.8.8.0/24"]


_LATER = datetime(2999, 1, 2, tzinfo=UTC)

_OTHERS: dict[str, dict[str, Any]] = {
    "allows": {"address": "8.8.8.8"},
    "edit": {"which": "8.8.8.0/24", "label": "x"},
    "erase": {"older_than": 0},
    "evaluate": {"change": lambda manager: manager.remove("acct-1", "8.8.8.0/24")},
    "explain": {"address": "8.8.8.8"},
    "note_match": {"address": "8.8.8.8"},
    "pause": {"until": _LATER},
    "set_mode": {"mode": "off"},
    "set_policy": {"max_entries": 20},
}
"""Other arguments of methods that take an account."""

_ONE_ACCOUNT = ("account", "name", "parent", "after")
_SEVERAL_ACCOUNTS = ("names", "accounts")


def _takers(kinds: tuple[str, ...]) -> Iterator[tuple[str, str, bool]]:
    """Yield the methods that take accounts, with the argument, and whether it may be None."""
    for method, function in inspect.getmembers(RuleManager, callable):
        if not method.startswith("_") and method not in _INTERNAL:
            for name, parameter in inspect.signature(function).parameters.items():
                if name in kinds and "str" in str(parameter.annotation):
                    yield method, name, "None" in str(parameter.annotation)


def _called(manager: RuleManager, method: str, name: str, value: Any) -> object:
    call = getattr(manager, method)
    arguments = {
        required: _VALUES[required]
        for required, parameter in inspect.signature(call).parameters.items()
        if parameter.default is parameter.empty and required in _VALUES
    }
    return call(**{**arguments, **_OTHERS.get(method, {}), name: value})


def test_the_methods_that_take_accounts_are_found() -> None:
    found = {(method, name) for method, name, _ in _takers((*_ONE_ACCOUNT, *_SEVERAL_ACCOUNTS))}
    some = {("explain", "account"), ("edit_account", "parent"), ("accounts", "after"), ("counts", "names")}
    assert some <= found
    assert len(found) > 30


@pytest.mark.parametrize(("method", "name", "nullable"), list(_takers(_ONE_ACCOUNT)), ids=str)
def test_an_account_is_a_text(manager: RuleManager, method: str, name: str, *, nullable: bool) -> None:
    before = manager.history()
    for wrong in (5, True, b"acct-1", ["acct-1"], manager.account("acct-1"), *(() if nullable else (None,))):
        with pytest.raises(TypeError, match=f"^an account must be a str, not {type(wrong).__name__}$"):
            _called(manager, method, name, wrong)
    assert manager.history() == before


@pytest.mark.parametrize(("method", "name", "nullable"), list(_takers(_SEVERAL_ACCOUNTS)), ids=str)
def test_one_text_is_not_several_accounts(manager: RuleManager, method: str, name: str, *, nullable: bool) -> None:
    assert nullable
    for one in ("acct-1", b"acct-1", ""):
        with pytest.raises(TypeError, match=f"^{name} is an iterable of accounts, not one text"):
            _called(manager, method, name, one)
    for wrong in (5, b"acct-1", None):
        with pytest.raises(TypeError, match=f"^an account must be a str, not {type(wrong).__name__}$"):
            _called(manager, method, name, ["acct-1", wrong])


_DECLARED: dict[str, Callable[[RuleManager, Any], object]] = {
    "import_accounts": lambda manager, account: manager.import_accounts({"new": [], account: "9.9.9.9/32"}),
    "import_accounts of pairs": lambda manager, account: manager.import_accounts([(account, "9.9.9.9/32")]),
    "apply": lambda manager, account: manager.apply({"new": [], account: "9.9.9.9/32"}),
    "plan": lambda manager, account: manager.plan({"new": [], account: "9.9.9.9/32"}),
    "apply of a value": lambda manager, account: manager.apply({account: DeclaredAccount(entries="9.9.9.9/32")}),
    "apply with a parent": lambda manager, account: manager.apply(
        {"new": DeclaredAccount(parent=cast("Any", [account]))}
    ),
    "apply with versions": lambda manager, account: manager.apply({"new": []}, expect_versions={account: 0}),
    "decide": lambda _, account: decide(account, [], "8.8.8.8", _LATER),
}


@pytest.mark.parametrize("way", _DECLARED)
def test_an_account_among_several_is_a_text(manager: RuleManager, way: str) -> None:
    before = manager.history()
    for wrong in (5, b"acct-1", None):
        with pytest.raises(TypeError, match=r"^an account must be a str, not "):
            _DECLARED[way](manager, wrong)
    assert manager.history() == before


@pytest.mark.parametrize("name", ["containing", "starting_with"])
def test_a_search_for_names_takes_text(manager: RuleManager, name: str) -> None:
    for wrong in (5, b"a", ["a"]):
        with pytest.raises(TypeError, match=f"^{name} must be an object of the class str"):
            _called(manager, "accounts", name, wrong)


_NUMBERS: dict[str, Callable[[RuleManager, Any], object]] = {
    "restore to_sequence": lambda manager, number: manager.restore("acct-1", to_sequence=number),
    "undo sequence": lambda manager, number: manager.undo("acct-1", number),
    "history limit": lambda manager, number: manager.history(limit=number),
    "history before": lambda manager, number: manager.history(before=number),
    "history after": lambda manager, number: manager.history(after=number),
    "accounts limit": lambda manager, number: manager.accounts(limit=number),
    "add expect_version": lambda manager, number: manager.add("acct-1", "1.1.1.1/32", expect_version=number),
    "edit expect_version": lambda manager, number: manager.edit(
        "acct-1", "8.8.8.0/24", label="a", expect_version=number
    ),
    "remove expect_version": lambda manager, number: manager.remove(
        "acct-1", "8.8.8.0/24", allow_empty=True, expect_version=number
    ),
    "replace expect_version": lambda manager, number: manager.replace("acct-1", "1.1.1.1/32", expect_version=number),
    "restore expect_version": lambda manager, number: manager.restore(
        "acct-1", to_sequence=1, allow_empty=True, expect_version=number
    ),
    "undo expect_version": lambda manager, number: manager.undo("acct-1", 2, allow_empty=True, expect_version=number),
}


@pytest.mark.parametrize("call", _NUMBERS)
def test_a_number_is_whole_and_in_its_range(manager: RuleManager, call: str) -> None:
    name = call.split()[1]
    for wrong in (True, False, "2", 2.0, b"2"):
        with pytest.raises(TypeError, match=f"^{name} must be a whole number, not {wrong!r}$"):
            _NUMBERS[call](manager, wrong)
    for negative in (-1, -(2**63), -(2**70)):
        with pytest.raises(ValueError, match=f"^{name} must be a whole number from 0 on, not {negative}$"):
            _NUMBERS[call](manager, negative)
    for large in (2**63 - 1, 2**63, 2**70):
        if name in ("to_sequence", "sequence", "expect_version"):
            with pytest.raises((HistoryError, VersionConflictError), match=str(large)):
                _NUMBERS[call](manager, large)
        else:
            found = _NUMBERS[call](manager, large)
            assert isinstance(found, list)
            assert bool(found) == (name != "after")
    assert [entry.cidr for entry in manager.entries("acct-1")] == ["8.8.8.0/24"]


@pytest.mark.parametrize("wrong", [True, "2", 2.0, -1], ids=repr)
def test_the_client_sends_only_whole_numbers(client: Client, wrong: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: client.add_entries("acct-1", "8.8.8.0/24", expect_version=wrong),
        lambda: client.restore("acct-1", wrong),
        lambda: client.preview_restore("acct-1", wrong),
        lambda: client.undo("acct-1", wrong),
        lambda: client.preview_undo("acct-1", wrong),
        lambda: client.list_history("acct-1", before=wrong),
        lambda: client.list_changes(after=wrong),
    ]
    for call in calls:
        with pytest.raises((TypeError, ValueError), match="must be a whole number"):
            call()


def test_true_is_not_the_id_of_an_entry(client: Client) -> None:
    with pytest.raises(TypeError, match="must be a whole number, not True"):
        client.remove_entry("acct-1", True, allow_empty=True)  # noqa: FBT003


@pytest.mark.parametrize("address", ["", " ", "x", "8.8.8.8 ", " 8.8.8.8", "8.8.8.0/24", "8.8.8", 7, b"8.8.8.8"])
def test_text_that_is_no_address_is_not_an_unknown_address(manager: RuleManager, address: Any) -> None:
    with pytest.raises(InvalidAddressError):
        manager.with_hooks(address=address)


@pytest.mark.parametrize("address", ["8.8.8.8", "::ffff:8.8.8.8", "::FFFF:808:808"])
def test_every_spelling_of_an_address_is_protected(manager: RuleManager, address: str) -> None:
    with pytest.raises(WouldLockOutCallerError):
        manager.with_hooks(address=address).replace("acct-1", "1.1.1.1/32")


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("between", [0, 1, _ACCOUNTS_A_COMMIT], ids=["adjacent", "same commit", "another commit"])
def test_a_name_that_comes_twice_is_refused(manager: RuleManager, between: int, *, strict: bool) -> None:
    others = [(f"other-{number}", "9.9.9.9/32") for number in range(between)]
    pairs = [("twice", "1.1.1.1/32"), *others, ("twice", "2.2.2.2/32")]
    with pytest.raises(ValueError, match="account 'twice' is named twice"):
        manager.import_accounts(iter(pairs), strict=strict)
    names = {account.name for account in manager.accounts()}
    if strict or between < _ACCOUNTS_A_COMMIT:
        assert names == {"acct-1"}
    elif "twice" in names:  # its commit may have begun
        assert [entry.cidr for entry in manager.entries("twice")] == ["1.1.1.1/32"]


@pytest.mark.parametrize(
    "time",
    [
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-23))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=23))),
    ],
    ids=str,
)
def test_an_expiry_that_is_out_of_range_in_utc_is_no_expiry(manager: RuleManager, time: datetime) -> None:
    calls: list[Callable[[], object]] = [
        lambda: manager.add("acct-1", "1.1.1.1/32", expires_at=time),
        lambda: manager.edit("acct-1", "8.8.8.0/24", expires_at=time),
        lambda: manager.replace("acct-1", "1.1.1.1/32", expires_at=time),
        lambda: NewEntry("1.1.1.1/32", expires_at=time),
        lambda: EntryEdit(expires_at=time),
    ]
    for call in calls:
        with pytest.raises(InvalidExpiryError, match="out of range in UTC") as caught:
            call()
        assert caught.value.expires_at == time
