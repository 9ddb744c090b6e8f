"""What Python sees of the native types: their names, signatures, documentation, copies and pickles."""

from __future__ import annotations

import copy
import inspect
import pickle
import pydoc
from typing import Any

import pytest

import cidrgate
from cidrgate import Matcher, PrefixTrie, _engine

CLASSES = [
    PrefixTrie,
    Matcher,
    _engine.PlainLists,
    _engine.SmallestCover,
    _engine._HeaderNames,
    _engine._HeaderField,
]
EXPORTED = [PrefixTrie, Matcher]


def public(owner: type) -> list[str]:
    return [name for name in vars(owner) if not name.startswith("_")]


CALLABLES: dict[str, Any] = {
    name: value
    for name, value in vars(_engine).items()
    if inspect.isbuiltin(value) and getattr(value, "__module__", None) == "cidrgate._engine"
}
CALLABLES |= {one.__name__: one for one in CLASSES}
CALLABLES |= {
    f"{one.__name__}.{name}": getattr(one, name)
    for one in CLASSES
    for name in public(one)
    if callable(getattr(one, name))
}


@pytest.mark.parametrize("name", CALLABLES)
def test_every_native_callable_has_a_signature_and_a_text_without_it(name: str) -> None:
    signature = inspect.signature(CALLABLES[name])
    assert not any(
        parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        for parameter in signature.parameters.values()
    )
    if not name.startswith("_"):
        text = inspect.getdoc(CALLABLES[name])
        assert text is not None
        assert text[0].isupper(), text
        assert "--" not in text.partition("\n")[0]


def test_there_are_callables_to_look_at() -> None:
    assert {"Matcher.allows", "Matcher.open", "PrefixTrie.lookup_many", "canonical_prefix", "Matcher"} <= set(CALLABLES)


@pytest.mark.parametrize("owner", EXPORTED)
def test_public_arguments_may_be_named(owner: type) -> None:
    """One rule: whatever has no underscores takes its arguments by place or by name."""
    for name in public(owner):
        if callable(getattr(owner, name)):
            parameters = list(inspect.signature(getattr(owner, name)).parameters.values())
            given = [parameter for parameter in parameters if parameter.name != "self"]
            assert all(parameter.kind != parameter.POSITIONAL_ONLY for parameter in given), name


def test_arguments_by_name_are_those_by_place() -> None:
    matcher = Matcher()
    matcher.publish(account="acct-1", prefixes=["8.8.8.0/24"], when_empty="deny")
    matcher.link(account="sub-1", parent="acct-1")
    for ask in (matcher.allows, matcher.allows_known, matcher.allows_enforced, matcher.match):
        for address in ("8.8.8.8", "9.9.9.9"):
            assert ask(account="sub-1", address=address) == ask("sub-1", address) == ask("sub-1", address=address)
    trie = PrefixTrie(prefixes={"8.8.8.0/24": 1})
    assert trie.lookup(address="8.8.8.8") == 1
    assert trie.covering(prefix="8.8.8.8/32") == trie.covered(prefix="8.0.0.0/8") == ["8.8.8.0/24"]


@pytest.mark.parametrize(
    "call",
    [
        "Matcher().allows()",
        "Matcher().allows('a')",
        "Matcher().allows('a', '::', '::')",
        "Matcher().allows('a', adress='::')",
        "Matcher().allows('a', account='a')",
    ],
)
def test_wrong_arguments_are_an_error(call: str) -> None:
    with pytest.raises(TypeError, match="allows"):
        eval(call, {"Matcher": Matcher})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("Matcher('lists.snapshot', trusted=True)", r"^Matcher\(\) takes no arguments: .*Matcher\.open\(path\)"),
        ("Matcher(trusted=True)", r"^Matcher\(\) takes no arguments"),
        ("Matcher(None)", r"^Matcher\(\) takes no arguments"),
        ("PrefixTrie([], 5)", r"^PrefixTrie\(\) takes one argument, prefixes"),
        ("PrefixTrie([], prefixes=[])", r"^PrefixTrie\(\) takes one argument, prefixes"),
        ("PrefixTrie(prefix=[])", r"^PrefixTrie\(\) takes one argument, prefixes"),
    ],
)
def test_wrong_arguments_of_a_type_are_an_error(call: str, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        eval(call, {"Matcher": Matcher, "PrefixTrie": PrefixTrie})


@pytest.mark.parametrize("one", CLASSES)
def test_no_type_ignores_arguments(one: Any) -> None:
    with pytest.raises(TypeError):
        one(*[()] * 9)
    with pytest.raises(TypeError):
        one(more=())


@pytest.mark.parametrize("one", EXPORTED)
def test_exported_types_are_known_by_their_public_name(one: type) -> None:
    assert one.__module__ == "cidrgate"
    assert f"{one.__module__}.{one.__qualname__}" in repr(one)
    assert getattr(cidrgate, one.__qualname__) is one
    assert getattr(_engine, one.__qualname__) is one
    assert pickle.loads(pickle.dumps(one)) is one
    assert f"class {one.__name__} in module cidrgate" in pydoc.plain(pydoc.render_doc(one)).replace("(", " ")


@pytest.mark.parametrize("one", CLASSES)
def test_native_types_are_final_and_cannot_be_changed(one: Any) -> None:
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Derived", (one,), {})
    for name in [*public(one), "more"]:
        with pytest.raises(TypeError, match="immutable"):
            setattr(one, name, None)


def test_messages_name_the_public_type() -> None:
    with pytest.raises(TypeError, match=r"expected cidrgate\.Matcher, got int"):
        Matcher().adopt(3)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_matcher_says_how_it_is_copied(make: Any) -> None:
    with pytest.raises(TypeError, match=r"matcher\.save\(path\).*Matcher\.open\(path\)"):
        make(Matcher())


def test_pickles_of_the_first_release_candidate_are_read() -> None:
    """They name the module of the engine."""
    old = (
        b"\x80\x04\x957\x00\x00\x00\x00\x00\x00\x00\x8c\x10cidrgate._engine\x94\x8c\nPrefixTrie\x94\x93\x94]\x94"
        b"\x8c\n8.8.8.0/24\x94a\x85\x94R\x94."
    )
    assert pickle.loads(old) == PrefixTrie(["8.8.8.0/24"])
    assert b"_engine" not in pickle.dumps(PrefixTrie(["8.8.8.0/24"]))


def test_texts_of_objects_count() -> None:
    matcher = Matcher()
    assert repr(matcher).startswith("<Matcher of 0 accounts, ")
    matcher.publish("acct-1", [])
    assert repr(matcher).startswith("<Matcher of 1 account, ")
    made = [repr(PrefixTrie([f"8.{number}.0.0/16" for number in range(count)])) for count in range(3)]
    assert [text.partition(",")[0] for text in made] == [
        "<PrefixTrie of 0 prefixes",
        "<PrefixTrie of 1 prefix",
        "<PrefixTrie of 2 prefixes",
    ]
