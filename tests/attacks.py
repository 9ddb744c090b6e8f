"""The attack table: requests that try to look as if they came from a listed address, and honest ones beside them.

Each is a peer and raw header lines, and the address that has to come out; None where none may. The list of the account
`acct-1` holds the `LISTED` addresses and none that attackers have. `tests/middleware/test_attacks.py` runs the table
through the resolver and the frameworks, `benchmarks/comparison.py` through other people's middlewares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cidrgate import ClientIPResolver, Gate, Matcher

__all__ = ["ATTACKER", "ATTACKS", "LISTED", "LISTED_PEER", "LISTED_V6", "REWRITTEN", "SETUPS", "Attack", "gates"]

# Addresses of the public internet: some libraries take those for documentation for none.
LISTED = "8.8.4.7"
LISTED_V6 = "2a00:1450:7::7"
LISTED_PEER = "127.0.0.7"
ATTACKER = "9.9.9.9"
PROXY, OTHER_PROXY = "127.0.0.2", "127.0.0.3"
STRANGER = "127.0.0.9"
TRUSTED = ["127.0.0.0/30", "fd00::/8"]

SETUPS: dict[str, dict[str, Any]] = {
    "default": {},
    "x-forwarded-for": {"trusted_proxies": TRUSTED},
    "forwarded": {"trusted_proxies": TRUSTED, "client_header": "forwarded"},
    "cf-connecting-ip": {"trusted_proxies": TRUSTED, "client_header": "cf-connecting-ip"},
    "two hops": {"trusted_hops": 2},
    "unix socket": {"trusted_proxies": ["unix:"]},
}


@dataclass(frozen=True, slots=True)
class Attack:
    """One request.

    Attributes:
        name: What is tried.
        setup: The key of the resolver in `SETUPS`.
        peer: The socket's other end, as a server names it.
        headers: Raw header lines.
        address: What has to come out; None for no address.
        port: The port of the socket's other end, as a server names it.
    """

    name: str
    setup: str
    peer: str | None
    headers: tuple[tuple[bytes, bytes], ...]
    address: str | None
    port: int = 4711

    @property
    def allowed(self) -> bool:
        """Whether the request may pass."""
        return self.address in (LISTED, LISTED_V6, LISTED_PEER)


def gates() -> dict[str, Gate]:
    """A gate for each setup, all over one list."""
    matcher = Matcher()
    matcher.publish("acct-1", [f"{LISTED}/32", f"{LISTED_V6}/128", f"{LISTED_PEER}/32"])
    return {
        name: Gate(matcher, unlisted="deny_unknown", resolver=ClientIPResolver(**setup), log="none")
        for name, setup in SETUPS.items()
    }


XFF, FORWARDED, CLOUDFLARE, REAL_IP = b"X-Forwarded-For", b"Forwarded", b"CF-Connecting-IP", b"X-Real-IP"
_HEADERS = [XFF, CLOUDFLARE, REAL_IP, b"True-Client-IP", b"X-Client-IP", b"X-Cluster-Client-IP", b"Client-IP"]


def _claims(address: str) -> tuple[tuple[bytes, bytes], ...]:
    return (*((name, address.encode()) for name in _HEADERS), (FORWARDED, f"for={address}".encode()))


def _by_peer(name: str, peer: str | None, address: str | None = None) -> Attack:
    """What the server says about the peer is odd; no header counts."""
    return Attack(name, "default", peer, _claims(LISTED), address)


def _through_proxy(name: str, value: bytes | str, address: str | None = None) -> Attack:
    """What a trusted proxy sends in one line of `X-Forwarded-For`."""
    return Attack(name, "x-forwarded-for", PROXY, ((XFF, _bytes(value)),), address)


def _forwarded(name: str, value: bytes | str, address: str | None = None) -> Attack:
    """What a trusted proxy sends in one line of `Forwarded`."""
    return Attack(name, "forwarded", PROXY, ((FORWARDED, _bytes(value)),), address)


def _bytes(value: bytes | str) -> bytes:
    return value.encode() if isinstance(value, str) else value


_LISTED, _ATTACKER = LISTED.encode(), ATTACKER.encode()

_DEFAULT = [
    *(
        Attack(f"{name.decode()} without a proxy", "default", STRANGER, ((name, _LISTED),), STRANGER)
        for name in _HEADERS
    ),
    Attack("Forwarded without a proxy", "default", STRANGER, ((FORWARDED, b"for=" + _LISTED),), STRANGER),
    Attack("every header at once", "default", STRANGER, _claims(LISTED), STRANGER),
    Attack("a proxy on this machine, trusted by nobody", "default", "127.0.0.1", ((XFF, _LISTED),), "127.0.0.1"),
    Attack("a listed peer", "default", LISTED_PEER, (), LISTED_PEER),
    Attack("a listed peer who claims to be another", "default", LISTED_PEER, ((XFF, _ATTACKER),), LISTED_PEER),
    _by_peer("a listed peer on a dual-stack socket", f"::ffff:{LISTED_PEER}", LISTED_PEER),
    _by_peer("a stranger on a dual-stack socket", f"::ffff:{STRANGER}", STRANGER),
    _by_peer("IPv4-compatible IPv6 is not IPv4", f"::{LISTED_PEER}", "::7f00:7"),
    _by_peer("a peer in octal", "0177.0.0.7"),
    _by_peer("a peer with leading zeros", "127.000.000.007"),
    _by_peer("a peer in decimal", "2130706439"),
    _by_peer("a peer in hexadecimal", "0x7f000007"),
    _by_peer("a peer with fewer octets", "127.7"),
    _by_peer("a peer with a trailing dot", f"{LISTED_PEER}."),
    _by_peer("a peer with NUL", f"{LISTED_PEER}\0"),
    _by_peer("a peer with a newline", f"{LISTED_PEER}\n"),
    _by_peer("a peer with a port", f"{LISTED_PEER}:80"),
    _by_peer("a peer in full-width digits", "１27.0.0.7"),  # noqa: RUF001
    _by_peer("a peer in Arabic-Indic digits", "١٢٧.٠.٠.٧"),  # noqa: RUF001
    _by_peer("a peer with a zone", "fe80::7%eth0"),
    _by_peer("a peer with a name", "localhost"),
    _by_peer("a peer that is a network", f"{LISTED_PEER}/32"),
    _by_peer("no peer", None),
    _by_peer("an empty peer", ""),
]

_PROXIES = [
    _through_proxy("an honest client", LISTED, LISTED),
    _through_proxy("an honest client behind two proxies", f"{LISTED}, {OTHER_PROXY}", LISTED),
    _through_proxy("an honest IPv6 client", LISTED_V6, LISTED_V6),
    _through_proxy("an attacker as they are", ATTACKER, ATTACKER),
    _through_proxy("spoofed leftmost", f"{LISTED}, {ATTACKER}", ATTACKER),
    _through_proxy("spoofed leftmost behind two proxies", f"{LISTED}, {ATTACKER}, {OTHER_PROXY}", ATTACKER),
    _through_proxy("spoofed many times", f"{LISTED}, " * 20 + ATTACKER, ATTACKER),
    _through_proxy("pretending to be a proxy", f"{LISTED}, {OTHER_PROXY}, {ATTACKER}", ATTACKER),
    _through_proxy("pretending to be nothing but proxies", f"{PROXY}, {OTHER_PROXY}, {ATTACKER}", ATTACKER),
    _through_proxy("nothing but proxies", f"{OTHER_PROXY}, {PROXY}", OTHER_PROXY),
    Attack("spoofed by an untrusted peer", "x-forwarded-for", STRANGER, ((XFF, _LISTED),), STRANGER),
    Attack("an untrusted peer names a proxy", "x-forwarded-for", STRANGER, ((XFF, b"127.0.0.2"),), STRANGER),
    Attack("the proxy on a dual-stack socket", "x-forwarded-for", f"::ffff:{PROXY}", ((XFF, _LISTED),), LISTED),
    Attack("the proxy on IPv6", "x-forwarded-for", "fd00::2", ((XFF, _LISTED + b", " + _ATTACKER),), ATTACKER),
    Attack("two lines", "x-forwarded-for", PROXY, ((XFF, _LISTED), (XFF, _ATTACKER)), ATTACKER),
    Attack(
        "two lines of lists", "x-forwarded-for", PROXY, ((XFF, b"127.0.0.3, " + _LISTED), (XFF, _ATTACKER)), ATTACKER
    ),
    Attack("lines in two cases", "x-forwarded-for", PROXY, ((b"x-forwarded-FOR", _LISTED), (XFF, _ATTACKER)), ATTACKER),
    Attack(
        "lines far apart", "x-forwarded-for", PROXY, ((XFF, _LISTED), (REAL_IP, _LISTED), (XFF, _ATTACKER)), ATTACKER
    ),
    Attack("an empty line after", "x-forwarded-for", PROXY, ((XFF, _LISTED), (XFF, b"")), None),
    Attack(
        "a name with underscores", "x-forwarded-for", PROXY, ((XFF, _ATTACKER), (b"X_Forwarded_For", _LISTED)), ATTACKER
    ),
    Attack(
        "a name that only begins so",
        "x-forwarded-for",
        PROXY,
        ((XFF, _ATTACKER), (b"X-Forwarded-For-Original", _LISTED)),
        ATTACKER,
    ),
    Attack(
        "another kind of header beside",
        "x-forwarded-for",
        PROXY,
        ((FORWARDED, b"for=" + _LISTED), (REAL_IP, _LISTED), (XFF, _ATTACKER)),
        ATTACKER,
    ),
    Attack("another kind of header instead", "x-forwarded-for", PROXY, ((FORWARDED, b"for=" + _LISTED),), None),
    Attack("no header from a trusted proxy", "x-forwarded-for", PROXY, (), None),
    _through_proxy("nothing in the header", "", None),
    _through_proxy("a lone comma", ",", None),
    _through_proxy("a trailing comma", f"{LISTED},", None),
    _through_proxy("an empty element", f"{LISTED}, , {OTHER_PROXY}", None),
    _through_proxy("spaces and tabs", f"  {ATTACKER}\t ,\t {LISTED} \t", LISTED),
    _through_proxy("two in one element", f"{LISTED} {ATTACKER}", None),
    _through_proxy("semicolons for commas", f"{ATTACKER};{LISTED}", None),
    _through_proxy("a no-break space", _LISTED + b"\xa0", None),
    _through_proxy("a vertical tab", _LISTED + b"\x0b", None),
    _through_proxy("NUL", _LISTED + b"\0", None),
    _through_proxy("a comma of another alphabet", f"{ATTACKER}，{LISTED}", None),  # noqa: RUF001
    _through_proxy("full-width digits", "８.8.4.7", None),  # noqa: RUF001
    _through_proxy("Arabic-Indic digits", "٨.٨.٤.٧", None),  # noqa: RUF001
    _through_proxy("octal", "010.010.04.07", None),
    _through_proxy("octal that is decimal too", "8.8.4.07", None),
    _through_proxy("octal of a private address", "010.0.0.1", None),
    _through_proxy("decimal", "134743047", None),
    _through_proxy("hexadecimal", "0x08080407", None),
    _through_proxy("hexadecimal octets", "0x8.0x8.0x4.0x7", None),
    _through_proxy("three octets", "8.8.1031", None),
    _through_proxy("five octets", f"{LISTED}.1", None),
    _through_proxy("a trailing dot", f"{LISTED}.", None),
    _through_proxy("a plus sign", f"+{LISTED}", None),
    _through_proxy("a network", f"{LISTED}/32", None),
    _through_proxy("a name", "localhost", None),
    _through_proxy("a script", "<script>alert(1)</script>", None),
    _through_proxy("quotes", f'"{LISTED}"', None),
    _through_proxy("an address with a port", f"{LISTED}:4711", LISTED),
    _through_proxy("an impossible port", f"{LISTED}:99999", None),
    _through_proxy("two ports", f"{LISTED}:80:80", None),
    _through_proxy("brackets around IPv4", f"[{LISTED}]", None),
    _through_proxy("IPv6 written out, in capitals", "2A00:1450:0007:0000:0000:0000:0000:0007", LISTED_V6),
    _through_proxy("IPv6 in brackets", f"[{LISTED_V6}]", LISTED_V6),
    _through_proxy("IPv6 in brackets with a port", f"[{LISTED_V6}]:4711", LISTED_V6),
    _through_proxy("an open bracket", f"[{LISTED_V6}", None),
    _through_proxy("IPv6 with a zone", f"{LISTED_V6}%eth0", None),
    _through_proxy("IPv6 with a zone that is an address", f"fe80::1%{LISTED}", None),
    _through_proxy("IPv6 with two gaps", "2a00:1450::7::7", None),
    _through_proxy("IPv4-mapped", f"::ffff:{LISTED}", LISTED),
    _through_proxy("IPv4-mapped in hexadecimal", "::ffff:808:407", LISTED),
    _through_proxy("an attacker IPv4-mapped", f"{LISTED}, ::ffff:{ATTACKER}", ATTACKER),
    _through_proxy("a proxy IPv4-mapped", f"{LISTED}, {ATTACKER}, ::ffff:{OTHER_PROXY}", ATTACKER),
    _through_proxy("IPv4-compatible IPv6", f"::{LISTED}", "::808:407"),
    _through_proxy("NAT64 of a listed address", f"64:ff9b::{LISTED}", "64:ff9b::808:407"),
    _through_proxy("unknown", "unknown", None),
    _through_proxy("unknown behind a proxy", f"{LISTED}, unknown, {OTHER_PROXY}", None),
    _through_proxy("an obfuscated hop", f"{LISTED}, _hidden", None),
    _through_proxy("a Unix socket nobody trusts", f"{LISTED}, unix:", None),
    _through_proxy("10,000 hops", f"{LISTED}, " * 10_000 + ATTACKER, ATTACKER),
    _through_proxy("10,000 trusted hops", f"{LISTED}" + f", {OTHER_PROXY}" * 10_000, None),
    _through_proxy("100,000 digits", "1" * 100_000, None),
]

_HOPS = [
    Attack("two hops, honest", "two hops", PROXY, ((XFF, _LISTED + b", 127.0.0.3"),), LISTED),
    Attack("two hops, spoofed", "two hops", PROXY, ((XFF, _LISTED + b", " + _ATTACKER + b", 127.0.0.3"),), ATTACKER),
    Attack(
        "two hops, spoofed in a line", "two hops", PROXY, ((XFF, _LISTED), (XFF, _ATTACKER + b",127.0.0.3")), ATTACKER
    ),
    Attack("two hops, one there", "two hops", PROXY, ((XFF, _LISTED),), None),
    Attack("two hops, none there", "two hops", PROXY, (), None),
    Attack("two hops, the last unreadable", "two hops", PROXY, ((XFF, _LISTED + b", 127.0.0.300"),), None),
]

_RFC_7239 = [
    _forwarded("Forwarded, honest", f"for={LISTED};proto=https", LISTED),
    _forwarded("Forwarded, honest IPv6", f'for="[{LISTED_V6}]:4711"', LISTED_V6),
    _forwarded("Forwarded, other case and spaces", f"proto=https ; FOR={LISTED}", LISTED),
    _forwarded("Forwarded, spoofed leftmost", f"for={LISTED}, for={ATTACKER}", ATTACKER),
    _forwarded("Forwarded, spoofed behind two proxies", f"for={LISTED},for={ATTACKER}, for={OTHER_PROXY}", ATTACKER),
    _forwarded("Forwarded, for twice in an element", f"for={ATTACKER};for={LISTED}", None),
    _forwarded("Forwarded, by is not for", f"for={ATTACKER};by={LISTED}", ATTACKER),
    _forwarded("Forwarded, an element without for", f"for={LISTED}, by={ATTACKER}", None),
    _forwarded("Forwarded, for inside quotes", f'for={ATTACKER};host="a, for={LISTED}"', ATTACKER),
    _forwarded("Forwarded, escapes inside quotes", f'for={ATTACKER};host="\\", for={LISTED}"', ATTACKER),
    _forwarded("Forwarded, an open quote", f'for={LISTED};host=", for={ATTACKER}', None),
    Attack(
        "Forwarded, an open quote across lines",
        "forwarded",
        PROXY,
        ((FORWARDED, f'for={LISTED};host="'.encode()), (FORWARDED, b"for=" + _ATTACKER)),
        None,
    ),
    Attack(
        "Forwarded, two lines",
        "forwarded",
        PROXY,
        ((FORWARDED, b"for=" + _LISTED), (FORWARDED, b"for=" + _ATTACKER)),
        ATTACKER,
    ),
    _forwarded("Forwarded, an address without for", LISTED, None),
    _forwarded("Forwarded, unknown", f"for={LISTED}, for=unknown", None),
    _forwarded("Forwarded, an obfuscated hop", f"for={LISTED}, for=_SEVKISEK", None),
    _forwarded("Forwarded, IPv6 without brackets", f'for="{LISTED_V6}"', None),
    _forwarded("Forwarded, a zone", f'for="[{LISTED_V6}%25eth0]"', None),
    _forwarded("Forwarded, 10,000 hops", f"for={LISTED}, " * 10_000 + f"for={ATTACKER}", None),
    Attack("Forwarded from a stranger", "forwarded", STRANGER, ((FORWARDED, b"for=" + _LISTED),), STRANGER),
    Attack(
        "X-Forwarded-For where Forwarded counts",
        "forwarded",
        PROXY,
        ((XFF, _LISTED), (FORWARDED, b"for=" + _ATTACKER)),
        ATTACKER,
    ),
]

_ONE_VALUE = [
    Attack("one address, honest", "cf-connecting-ip", PROXY, ((CLOUDFLARE, _LISTED),), LISTED),
    Attack("one address from a stranger", "cf-connecting-ip", STRANGER, ((CLOUDFLARE, _LISTED),), STRANGER),
    Attack("one address twice", "cf-connecting-ip", PROXY, ((CLOUDFLARE, _LISTED), (CLOUDFLARE, _ATTACKER)), None),
    Attack("a list for one address", "cf-connecting-ip", PROXY, ((CLOUDFLARE, _ATTACKER + b", " + _LISTED),), None),
    Attack("nothing for one address", "cf-connecting-ip", PROXY, ((CLOUDFLARE, b""),), None),
    Attack("a list beside one address", "cf-connecting-ip", PROXY, ((XFF, _LISTED), (CLOUDFLARE, _ATTACKER)), ATTACKER),
    Attack("a list instead of one address", "cf-connecting-ip", PROXY, ((XFF, _LISTED), (REAL_IP, _LISTED)), None),
]

_UNIX = [
    Attack("a Unix socket, honest", "unix socket", None, ((XFF, _LISTED),), LISTED),
    Attack("a Unix socket, spoofed", "unix socket", "", ((XFF, _LISTED + b", " + _ATTACKER),), ATTACKER),
    Attack("a Unix socket behind another", "unix socket", "unix:", ((XFF, _LISTED + b", unix:"),), LISTED),
    Attack("a Unix socket without a header", "unix socket", None, (), None),
    Attack("a network peer where a Unix socket is trusted", "unix socket", STRANGER, ((XFF, _LISTED),), STRANGER),
]

_PEER = LISTED_PEER.encode()


def _rewritten(name: str, value: bytes | str, field: bytes = XFF, setup: str = "default", port: int = 4711) -> Attack:
    """A listed peer that a server took out of a header, which still says so."""
    return Attack(f"rewritten: {name}", setup, LISTED_PEER, ((field, _bytes(value)),), None, port)


def _not_rewritten(name: str, value: bytes | str, field: bytes = XFF, setup: str = "default") -> Attack:
    """A listed peer that is the socket's, whatever else is in a header."""
    return Attack(f"not rewritten: {name}", setup, LISTED_PEER, ((field, _bytes(value)),), LISTED_PEER)


_STRANGER_PROXIES = "cf-connecting-ip"
"""A setup whose trusted proxies do not have the listed peer."""

REWRITTEN = [
    _rewritten("as it is", LISTED_PEER),
    _rewritten("with a port", f"{LISTED_PEER}:4711"),
    _rewritten("with another port", f"{LISTED_PEER}:80"),
    _rewritten("with an impossible port", f"{LISTED_PEER}:99999"),
    _rewritten("with port 0", f"{LISTED_PEER}:0", port=0),
    _rewritten("port 0 alone", ATTACKER, port=0),
    _rewritten("the first of several", f"{LISTED_PEER}, {ATTACKER}, 10.0.0.1"),
    _rewritten("the last of several", f"{ATTACKER}, {LISTED_PEER}"),
    _rewritten("in the middle", f"{ATTACKER},{LISTED_PEER},{ATTACKER}"),
    _rewritten("spaces and tabs", f"\t {LISTED_PEER} \t"),
    _rewritten("IPv4-mapped", f"::ffff:{LISTED_PEER}"),
    _rewritten("IPv4-mapped in hexadecimal", "::ffff:7f00:7"),
    _rewritten("IPv4-mapped in capitals", "0:0:0:0:0:FFFF:7F00:0007"),
    _rewritten("brackets", f"[::ffff:{LISTED_PEER}]"),
    _rewritten("brackets and a port", f"[::ffff:{LISTED_PEER}]:4711"),
    _rewritten("brackets around IPv4", f"[{LISTED_PEER}]"),
    _rewritten("quotes", f'"{LISTED_PEER}"'),
    _rewritten("quotes and a port", f'"{LISTED_PEER}:4711"'),
    _rewritten("an obfuscated port", f"{LISTED_PEER}:_hidden"),
    _rewritten("semicolons for commas", f"{ATTACKER};{LISTED_PEER}"),
    _rewritten("behind what cannot be read", f"unknown, _hidden, , {LISTED_PEER}"),
    _rewritten("behind 100 others", f"{ATTACKER}, " * 100 + LISTED_PEER),
    _rewritten("behind 10,000 others", f"{ATTACKER}, " * 3_000 + LISTED_PEER),
    _rewritten("Forwarded", f"for={LISTED_PEER}", FORWARDED),
    _rewritten("Forwarded with a port", f'for="{LISTED_PEER}:4711"', FORWARDED),
    _rewritten("Forwarded with a hidden port", f'for="{LISTED_PEER}:_x"', FORWARDED),
    _rewritten("Forwarded in brackets", f'for="[::ffff:{LISTED_PEER}]:4711"', FORWARDED),
    _rewritten("Forwarded in capitals among others", f"proto=https;FOR={LISTED_PEER};by=10.0.0.1", FORWARDED),
    _rewritten("Forwarded with escapes", 'for="127\\.0\\.0\\.7"', FORWARDED),
    _rewritten("Forwarded that breaks the grammar", f'for={LISTED_PEER};host="', FORWARDED),
    _rewritten("Forwarded behind others", f"for={ATTACKER}, for={LISTED_PEER}", FORWARDED),
    *(_rewritten(f"{name.decode()}", LISTED_PEER, name) for name in _HEADERS[1:]),
    *(_rewritten(f"{name.decode()} with a port", f"{LISTED_PEER}:4711", name) for name in _HEADERS[1:]),
    _rewritten("trusted proxies, and the peer is none", LISTED_PEER, XFF, _STRANGER_PROXIES),
    _rewritten("trusted proxies and a port", f"{LISTED_PEER}:4711", XFF, _STRANGER_PROXIES),
    _rewritten("trusted proxies, their header", LISTED_PEER, CLOUDFLARE, _STRANGER_PROXIES),
    _rewritten("trusted proxies, another header", f"for={LISTED_PEER}", FORWARDED, "x-forwarded-for"),
    Attack("rewritten: the second line", "default", LISTED_PEER, ((XFF, _ATTACKER), (XFF, _PEER)), None),
    Attack("rewritten: a second header", "default", LISTED_PEER, ((XFF, _ATTACKER), (REAL_IP, _PEER)), None),
    Attack(
        "rewritten: a proxy with the port of the header",
        "x-forwarded-for",
        PROXY,
        ((XFF, b"127.0.0.2:4711, " + _LISTED),),
        None,
    ),
    Attack(
        "rewritten: a proxy behind the client", "x-forwarded-for", PROXY, ((XFF, _LISTED + b", 127.0.0.2:4711"),), None
    ),
    Attack(
        "rewritten: a proxy with X-Forwarded-Port",
        "x-forwarded-for",
        PROXY,
        ((XFF, b"127.0.0.2, " + _LISTED), (b"X-Forwarded-Port", b"4711")),
        None,
    ),
    Attack("rewritten: a proxy with port 0", "x-forwarded-for", PROXY, ((XFF, _LISTED),), None, 0),
    Attack("rewritten: hops with port 0", "two hops", PROXY, ((XFF, _LISTED + b", 127.0.0.3"),), None, 0),
    Attack("rewritten: an attacker as they are", "default", ATTACKER, ((XFF, _ATTACKER),), None),
    Attack(
        "not rewritten: a client with the number of the port",
        "x-forwarded-for",
        PROXY,
        ((XFF, _LISTED + b":4711"),),
        LISTED,
    ),
    Attack(
        "not rewritten: a proxy that asks itself", "x-forwarded-for", PROXY, ((XFF, _LISTED + b", 127.0.0.2"),), LISTED
    ),
    _not_rewritten("another address", ATTACKER),
    _not_rewritten("a longer address", f"{LISTED_PEER}7"),
    _not_rewritten("an address that ends so", f"1{LISTED_PEER}"),
    _not_rewritten("a network", "127.0.0.0/8"),
    _not_rewritten("leading zeros, which no address has", "127.0.0.07"),
    _not_rewritten("IPv4-compatible IPv6", f"::{LISTED_PEER}"),
    _not_rewritten("nothing", ""),
    _not_rewritten("another header", LISTED_PEER, b"X-Forwarded-Host"),
    _not_rewritten("a header of the application", LISTED_PEER, b"X-Other"),
]

ATTACKS = [*_DEFAULT, *_PROXIES, *_HOPS, *_RFC_7239, *_ONE_VALUE, *_UNIX]
