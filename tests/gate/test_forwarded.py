"""RFC 7239 `Forwarded` against a reader that goes character by character."""

from __future__ import annotations

import pytest
from hypothesis import example, given, strategies as st

from cidrgate.gate.forwarded import LONGEST_FORWARDED, UnreadableHopError, hops_of
from tests.golden import read_address
from tests.strategies import mutated

TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
QUOTABLE = frozenset(["\t", *map(chr, range(32, 127)), *map(chr, range(128, 256))])

names = st.sampled_from(["for", "For", "FOR", "by", "host", "proto", "secret"])
values = st.sampled_from(["203.0.113.9", "10.0.0.1", "[2001:db8::1]", "[2001:db8::1]:80", "https", "a,b;c", 'a"b', "é"])


@st.composite
def pairs(draw: st.DrawFn) -> str:
    """A parameter, quoted where it has to be and now and then where not, with characters escaped for no reason."""
    value = draw(values)
    if set(value) <= TOKEN and draw(st.booleans()):
        return f"{draw(names)}={value}"
    escaped = "".join(f"\\{letter}" if letter in '"\\' or draw(st.integers(0, 9)) == 0 else letter for letter in value)
    return f'{draw(names)}="{escaped}"'


separators = st.sampled_from([";", " ; ", ",", ", ", "\t,"])


@st.composite
def headers(draw: st.DrawFn) -> str:
    """A whole header, most often a good one."""
    text = draw(pairs())
    for _ in range(draw(st.integers(0, 4))):
        text += draw(separators) + draw(st.one_of(pairs(), pairs(), st.just("")))
    return text


def elements_of(text: str) -> list[dict[str, str]] | None:
    """The elements, or None where the text breaks the grammar."""
    elements: list[dict[str, str]] = [{}]
    at = 0

    def skip() -> None:
        nonlocal at
        while at < len(text) and text[at] in " \t":
            at += 1

    def token() -> str:
        nonlocal at
        start = at
        while at < len(text) and text[at] in TOKEN:
            at += 1
        return text[start:at]

    while True:
        skip()
        name = token().lower()
        if name:
            if at == len(text) or text[at] != "=" or name in elements[-1]:
                return None
            at += 1
            if at < len(text) and text[at] == '"':
                at += 1
                value = ""
                while at < len(text) and text[at] != '"':
                    if text[at] == "\\":
                        at += 1
                    if at == len(text) or text[at] not in QUOTABLE:
                        return None
                    value += text[at]
                    at += 1
                if at == len(text):
                    return None
                at += 1
            else:
                value = token()
                if not value:
                    return None
            elements[-1][name] = value
        skip()
        if at == len(text):
            return elements
        if text[at] not in ",;":
            return None
        if text[at] == ",":
            elements.append({})
        at += 1


ADDRESSES = {
    "203.0.113.9": "203.0.113.9",
    "10.0.0.1": "10.0.0.1",
    "[2001:db8::1]": "2001:db8::1",
    "[2001:db8::1]:80": "2001:db8::1",
}


def read(text: str) -> tuple[list[str], str | None]:
    """The hops that can be read, nearest first, and the problem with the next."""
    hops: list[str] = []
    try:
        for hop in hops_of("forwarded", [text.encode("latin-1", "replace")]):
            hops.append(hop)
    except UnreadableHopError as error:
        return hops, error.problem
    return hops, None


@given(headers())
def test_nodes_are_read_as_the_grammar_says(text: str) -> None:
    hops, problem = read(text)
    elements = elements_of(text)
    if elements is None:
        assert (hops, problem) == ([], "malformed_header")
        return
    expected = [ADDRESSES.get(element.get("for", "")) for element in reversed(elements)]
    readable = expected.index(None) if None in expected else len(expected)
    assert hops == expected[:readable]
    assert problem == (None if readable == len(expected) else "malformed_hop")


@given(mutated(headers()).filter(lambda text: all(ord(letter) < 256 for letter in text)))
@example('for="203.0.113.9')
@example('for="203.0.113.9\\"')
@example("for=203.0.113.9;for=10.0.0.1")
@example("for =203.0.113.9")
@example("for= 203.0.113.9")
@example("203.0.113.9")
@example("")
def test_broken_headers_are_refused_as_a_whole(text: str) -> None:
    assert (read(text)[1] == "malformed_header") == (elements_of(text) is None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("for=unknown", "obfuscated_hop"),
        ("for=Unknown", "obfuscated_hop"),
        ('for="unknown:80"', "obfuscated_hop"),
        ('for="_gazonk:_port"', "obfuscated_hop"),
        ("for=_hidden", "obfuscated_hop"),
        ('for="2001:db8::1"', "malformed_hop"),
        ('for="[2001:db8::1%eth0]"', "malformed_hop"),
        ('for="[2001:db8::1]:65536"', "malformed_hop"),
        ('for=""', "malformed_hop"),
        ("proto=https", "malformed_hop"),
        ("for=010.0.0.1", "malformed_hop"),
        ("for=203.0.113.9:80", "malformed_header"),
        ("for=[2001:db8::1]", "malformed_header"),
        ("for=203.0.113.9 by=10.0.0.1", "malformed_header"),
        ("x" * (LONGEST_FORWARDED + 1), "header_too_long"),
        (" " * LONGEST_FORWARDED, "malformed_hop"),
        ("a" * LONGEST_FORWARDED, "malformed_header"),
        ('a="' + "\\" * (LONGEST_FORWARDED - 3), "malformed_header"),
    ],
)
def test_what_is_wrong_is_named(text: str, problem: str) -> None:
    assert read(text) == ([], problem)


@pytest.mark.parametrize(
    ("text", "hops"),
    [
        ('for="203.0.113.9:47011"', ["203.0.113.9"]),
        ('for="[::ffff:203.0.113.9]"', ["203.0.113.9"]),
        ('for="\\203.0.113.9"', ["203.0.113.9"]),
        ('for="unix:"', ["unix:"]),
        ('proto=https;host="a,b;for=8.8.8.8";for=203.0.113.9', ["203.0.113.9"]),
        (";for=203.0.113.9;", ["203.0.113.9"]),
        (",".join(["for=10.0.0.1"] * 1_000), ["10.0.0.1"] * 1_000),
    ],
)
def test_what_is_right_is_read(text: str, hops: list[str]) -> None:
    assert read(text) == (hops, None)


def test_a_quote_left_open_by_a_client_hides_nothing() -> None:
    with pytest.raises(UnreadableHopError, match="malformed_header"):
        hops_of("forwarded", [b'for=8.8.8.8;by="', b"for=203.0.113.9"])


LETTERS = "abcXYZ019._-"
identifiers = st.text(LETTERS, min_size=1, max_size=60).map(lambda text: f"_{text}")
node_ports = st.one_of(st.just(""), st.integers(0, 65535).map(lambda port: f":{port}"), identifiers.map(":{}".format))
addresses_4, addresses_6 = st.ip_addresses(v=4), st.ip_addresses(v=6)


@given(addresses_4, addresses_6, node_ports)
def test_a_node_is_an_address_and_perhaps_a_port_that_may_be_hidden(ipv4: object, ipv6: object, port: str) -> None:
    """RFC 7239 section 6: `node = nodename [ ":" node-port ]`, `node-port = port / obfport`."""
    assert read(f'for="{ipv4}{port}"') == ([str(read_address(str(ipv4)))], None)
    assert read(f'for="[{ipv6}]{port}"') == ([str(read_address(str(ipv6)))], None)
    assert read(f'for="[{ipv6}]{port}", for=10.0.0.1')[0][0] == "10.0.0.1"


@given(st.one_of(identifiers, st.sampled_from(["unknown", "UNKNOWN", "Unknown"])), node_ports)
def test_a_name_that_is_hidden_may_have_a_port(name: str, port: str) -> None:
    assert read(f'for="{name}{port}"') == ([], "obfuscated_hop")


@pytest.mark.parametrize(
    "node",
    [
        "203.0.113.9:",
        "203.0.113.9:_",
        "203.0.113.9:_a b",
        "203.0.113.9:_a:1",
        "203.0.113.9:_é",
        "203.0.113.9:id",
        "203.0.113.9:80_x",
        "203.0.113.9:_x/y",
        "203.0.113.9:65536",
        "203.0.113.9:123456",
        "203.0.113.9:80:_x",
        "2001:db8::1:_x",
        "[2001:db8::1]_x",
        "[203.0.113.9]:_x",
        "unknown:",
        "unknown:x",
        "_",
        "_:80",
        "unknow",
        "ünknown",
    ],
)
def test_other_ports_and_names_are_none(node: str) -> None:
    assert read(f'for="{node}"') == ([], "malformed_hop")


@given(addresses_4, identifiers)
def test_a_plain_list_has_no_hidden_ports(ipv4: object, identifier: str) -> None:
    with pytest.raises(UnreadableHopError, match="malformed_hop"):
        list(hops_of("x-forwarded-for", [f"{ipv4}:{identifier}".encode()]))
