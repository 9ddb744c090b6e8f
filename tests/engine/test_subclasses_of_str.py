"""Every account, address and prefix may be of a subclass of `str`: it is its text, whatever its methods return."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from cidrgate import InvalidAccountError, InvalidAddressError, Matcher, PrefixTrie, SubaccountError
from cidrgate._engine import SmallestCover, canonical_address, canonical_prefix
from tests.texts import EVERY

if TYPE_CHECKING:
    from collections.abc import Callable

    Make = Callable[[str], str]

ACCOUNTS = ["acct-1", "sub-1", "é", "名前", "unknown", "", "x" * 300]
ADDRESSES = ["8.8.8.8", "9.9.9.9", "2620:fe::9", "::ffff:8.8.8.8", "", "8.8.8", "é"]
TABLE = pa.table({"acct-1": ["acct-1"], "é": ["8.8.8.8"]})
FRAME = pd.DataFrame({"acct-1": ["acct-1"], "é": ["8.8.8.8"]})


def word(text: str) -> Any:
    """Return a text where type checkers want one of a few words."""
    return text


# What each method is asked with the maker of its texts, a text of an account, and one of an address.
MATCHER: dict[str, Callable[[Matcher, Make, str, str], Any]] = {
    "allows": lambda matcher, make, account, address: matcher.allows(make(account), make(address)),
    "allows_known": lambda matcher, make, account, address: matcher.allows_known(make(account), make(address)),
    "allows_enforced": lambda matcher, make, account, address: matcher.allows_enforced(make(account), make(address)),
    "_sure_known": lambda matcher, make, account, address: matcher._sure_known(make(account), make(address)),
    "_sure_enforced": lambda matcher, make, account, address: matcher._sure_enforced(make(account), make(address)),
    "_would_allow": lambda matcher, make, account, address: matcher._would_allow(make(account), make(address)),
    "_would_allow_known": lambda matcher, make, account, address: matcher._would_allow_known(
        make(account), make(address)
    ),
    "_note": lambda matcher, make, account, address: noted(matcher, make(account), make(address)),
    "match": lambda matcher, make, account, address: matcher.match(make(account), make(address)),
    "prefixes": lambda matcher, make, account, _: matcher.prefixes(make(account)),
    "mode": lambda matcher, make, account, _: matcher.mode(make(account)),
    "_when_empty": lambda matcher, make, account, _: matcher._when_empty(make(account)),
    "enforced": lambda matcher, make, account, _: matcher.enforced(make(account)),
    "_parent_of": lambda matcher, make, account, _: matcher._parent_of(make(account)),
    "__contains__": lambda matcher, make, account, _: make(account) in matcher,
    "rows": lambda matcher, make, account, _: matcher.rows([make(account), make("sub-1")]).tolist(),
    "allows_many": lambda matcher, make, account, address: [
        matcher.allows_many(accounts, [make(address)], invalid=word(make(invalid))).tolist()
        for accounts in (make(account), [make(account)], pd.Series([make(account)], dtype=object))
        for invalid in ("deny", "raise")
    ],
    "allows_arrow": lambda matcher, make, account, address: [
        matcher.allows_arrow(table, make("acct-1"), make("é")).to_pylist() for table in (TABLE, FRAME)
    ],
    "publish": lambda matcher, make, account, _: matcher.publish(
        make(account), [make("1.1.1.0/24")], when_empty=word(make("deny")), mode=word(make("report_only"))
    ),
    "_publish_moved": lambda matcher, make, account, _: matcher._publish_moved(
        make(account), (make("1.1.1.0/24"),), when_empty=word(make("allow")), mode=word(make("off"))
    ),
    "link": lambda matcher, make, account, _: matcher.link(make("new"), make(account)),
    "_link_moved": lambda matcher, make, account, _: matcher._link_moved(make("é"), parent=make(account)),
    "discard": lambda matcher, make, account, _: matcher.discard(make(account)),
}
TRIE: dict[str, Callable[[PrefixTrie[Any], Make, str], Any]] = {
    "lookup": lambda trie, make, text: trie.lookup(make(text)),
    "match": lambda trie, make, text: trie.match(make(text)),
    "get": lambda trie, make, text: (trie.get(make(text)), trie.get(make("8.8.8.0/24"))),
    "__getitem__": lambda trie, make, text: trie[make("8.8.8.0/24")],
    "__contains__": lambda trie, make, text: (make(text) in trie, make("8.8.8.0/24") in trie),
    "covering": lambda trie, make, text: trie.covering(make("8.8.8.8/32")),
    "covered": lambda trie, make, text: trie.covered(make("8.0.0.0/8")),
    "contains_many": lambda trie, make, text: trie.contains_many([make(text), "9.9.9.9"]).tolist(),
    "lookup_many": lambda trie, make, text: trie.lookup_many([make(text), "9.9.9.9"]).tolist(),
}
# Methods without a text of an account, an address or a prefix.
OTHERS = {
    *("adopt", "open", "_open_as_saved", "save", "nbytes", "note", "prefixes", "keys", "items", "values"),
    *("_record_traffic", "_end_traffic", "_collect_traffic", "_names_of_rows", "_count_enforced", "_count_mode"),
}


def matcher_with_lists() -> Matcher:
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/24", "2620:fe::/48"])
    matcher.publish("é", ["9.9.9.9/32"], mode="report_only")
    matcher.publish("名前", [], when_empty="deny")
    matcher.link("sub-1", parent="acct-1")
    return matcher


def noted(matcher: Matcher, account: str, address: str) -> bytes:
    matcher._record_traffic(64)
    matcher._note(account, address, allowed=True)
    return matcher._collect_traffic()[0]


def outcome(ask: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return ask(*arguments)
    except (InvalidAddressError, InvalidAccountError, SubaccountError, LookupError) as error:
        return type(error)


def content(matcher: Matcher) -> list[Any]:
    return [
        (account, matcher.prefixes(account), matcher.mode(account), matcher._parent_of(account), type(account))
        for account in matcher
    ]


def test_every_method_is_asked() -> None:
    for of, asked in ((Matcher, MATCHER), (PrefixTrie, TRIE)):
        public = {name for name in vars(of) if not name.startswith("__")}
        assert public - OTHERS <= set(asked), of
        assert not set(asked) - set(vars(of))


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("method", MATCHER)
def test_a_matcher_reads_the_text(method: str, kind: str) -> None:
    ask = MATCHER[method]
    for account in ACCOUNTS:
        for address in ADDRESSES:
            of_text, of_subclass = matcher_with_lists(), matcher_with_lists()
            wanted = outcome(ask, of_text, str, account, address)
            assert outcome(ask, of_subclass, EVERY[kind], account, address) == wanted, (account, address)
            assert content(of_subclass) == content(of_text)


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("method", TRIE)
def test_a_trie_reads_the_text(method: str, kind: str) -> None:
    prefixes = ["8.0.0.0/8", "8.8.8.0/24", "2620:fe::/48"]
    trie = PrefixTrie(list(map(EVERY[kind], prefixes)))
    assert list(trie) == prefixes
    one = {EVERY[kind]("8.0.0.0/8"): 1}
    assert dict(PrefixTrie(one)) == {"8.0.0.0/8": 1}
    for text in ADDRESSES:
        wanted = outcome(TRIE[method], PrefixTrie(prefixes), str, text)
        assert outcome(TRIE[method], trie, EVERY[kind], text) == wanted, text


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_functions_read_the_text(make: Make) -> None:
    for text in ADDRESSES:
        assert outcome(canonical_address, make(text)) == outcome(canonical_address, text)
    for text in ("8.8.8.0/24", "::ffff:8.8.8.0/120", "8.8.8.8", ""):
        assert outcome(canonical_prefix, make(text)) == outcome(canonical_prefix, text)
    assert type(canonical_address(make("8.8.8.8"))) is type(canonical_prefix(make("8.8.8.0/24"))) is str
    cover = SmallestCover([make("8.8.8.8/32")], [make("9.9.9.0/24")], 5, 8, 16, bar_mapped=False)
    assert cover.networks(1) == ["8.8.8.8/32"]


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_a_lone_surrogate_is_refused(make: Make) -> None:
    matcher = matcher_with_lists()
    for method in ("allows", "enforced", "mode", "discard", "rows", "__contains__"):
        arguments = {"allows": ("\ud800", "8.8.8.8"), "rows": ([make("\ud800")],)}.get(method, (make("\ud800"),))
        with pytest.raises(InvalidAccountError, match="lone surrogate"):
            getattr(matcher, method)(*arguments)


class Proxy:
    """An object that `isinstance` takes for a text."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return str

    def __repr__(self) -> str:
        return "Proxy()"


NO_TEXTS: list[Any] = [Proxy(), None, 1, b"acct-1", bytearray(b"acct-1"), ["acct-1"], np.bytes_(b"acct-1")]


@pytest.mark.parametrize("value", NO_TEXTS, ids=repr)
def test_what_is_no_text_is_no_account(value: Any) -> None:
    matcher = matcher_with_lists()
    matcher._record_traffic(64)
    for name, parameters in ((name, inspect.signature(getattr(matcher, name)).parameters) for name in MATCHER):
        if "account" in parameters and name != "allows_arrow":
            given = {"address": "8.8.8.8", "parent": "acct-1", "prefixes": [], "allowed": True}
            arguments = {key: one for key, one in given.items() if key in parameters}
            with pytest.raises(TypeError, match="an account must be a str, not"):
                getattr(matcher, name)(value, *arguments.values())
    with pytest.raises(TypeError, match="a parent must be a str"):
        matcher.link("acct-2", value)
    with pytest.raises(TypeError, match="an account must be a str, not"):
        value in matcher  # noqa: B015
    with pytest.raises(TypeError, match=r"accounts\[1\] must be a str"):
        matcher.rows(["acct-1", value])
    with pytest.raises(TypeError, match=r"must be a str|not iterable"):
        matcher.allows_many(value if isinstance(value, str) else [value], ["8.8.8.8"])
    for column in ("account", "address"):
        with pytest.raises(TypeError, match=f"{column} must be a str, not"):
            matcher.allows_arrow(TABLE, **{column: value})
    for function in (canonical_address, canonical_prefix):
        with pytest.raises(TypeError, match="must be a str, not"):
            function(value)
