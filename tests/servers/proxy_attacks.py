"""Attacks on a proxy that asks cidrgate, as data: bytes that a client sends, and what may come of them at the API.

The client calls from the address that its own account, `acct-2`, lists. It holds the key of the victim too, `acct-1`,
which does not list that address. So no request may ever reach the API that a server could read as one of `acct-1`.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hpack import Encoder

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ATTACKER", "DENIED", "H2_ROWS", "NOBODY", "OWN", "ROWS", "SHORT_ROWS", "TRAILERS", "H2Row", "Row"]

ATTACKER = "127.0.0.3"
OWN = "acct-2"
DENIED = "denied"
"""Nothing reaches the API."""
NOBODY = "nobody"
"""A request reaches the API that can act for no account."""

_OWN_KEY = b"X-Api-Key: key-of-acct-2"
_KEY_OF_VICTIM = b"X-Api-Key: key-of-acct-1"
_CLOSE = b"Connection: close"


@dataclass(frozen=True, slots=True)
class Row:
    """One attack.

    Attributes:
        name: What is tried.
        sent: The bytes of the client.
        expected: What may come of it: some of `OWN`, `DENIED`, `NOBODY`.
        then: Bytes sent on the same connection after the first answer.
        later: The end of the request, sent when a server has had time to begin with the request.
        at: What may come of it at some proxies, by their names.
        body: Bytes of a body that the API must get as they are.
    """

    name: str
    sent: bytes
    expected: frozenset[str]
    then: bytes = b""
    later: bytes = b""
    at: Mapping[str, frozenset[str]] = field(default_factory=dict)
    body: bytes | None = None


def request(*lines: bytes, start: bytes = b"GET / HTTP/1.1", close: bool = True, body: bytes = b"") -> bytes:
    """The bytes of a request with these header lines besides `Host`."""
    return b"\r\n".join([start, b"Host: 127.0.0.1", *lines, *([_CLOSE] if close else []), b"", body])


def rows(expected: str, requests: Mapping[str, bytes], at: Mapping[str, str] | None = None) -> list[Row]:
    """Rows with one expectation, `a|b` for either; `at` names proxies with another one."""
    others = {name: frozenset(other.split("|")) for name, other in (at or {}).items()}
    return [Row(name, sent, frozenset(expected.split("|")), at=others) for name, sent in requests.items()]


EITHER = f"{OWN}|{DENIED}"
_EITHER = frozenset({OWN, DENIED})
"""Some proxies refuse such a request, some repair it."""

VICTIM_NEXT = request(_KEY_OF_VICTIM, start=b"GET /next HTTP/1.1")


# --- Upgrades: after one allowed request, later ones on the connection would not be asked about ----------------------


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


_HTTP2 = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + _frame(4, 0, 0, b"")
    + _frame(
        1,
        0x5,
        3,
        Encoder().encode(
            [
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "127.0.0.1"),
                (":path", "/over-h2c"),
                ("x-account", "acct-1"),
                ("x-api-key", "key-of-acct-1"),
            ]
        ),
    )
)
"""The preface of HTTP/2 and a request of the victim's account."""

_SETTINGS = b"HTTP2-Settings: " + base64.urlsafe_b64encode(_frame(4, 0, 0, b"")[9:] or b"\0\3\0\0\0\x64")
_UPGRADE = b"Connection: Upgrade, HTTP2-Settings"
_WEBSOCKET = (b"Sec-WebSocket-Key: YSBub25jZSBvZiAxNiBieQ==", b"Sec-WebSocket-Version: 13")


def _upgrade(*lines: bytes, start: bytes = b"GET / HTTP/1.1", body: bytes = b"") -> bytes:
    return request(_OWN_KEY, *lines, start=start, close=False, body=body)


_UPGRADES = {
    "h2c": _upgrade(_UPGRADE, b"Upgrade: h2c", _SETTINGS),
    "H2C in capitals": _upgrade(_UPGRADE, b"UPGRADE: H2C", _SETTINGS),
    "h2c without its settings": _upgrade(b"Connection: Upgrade", b"Upgrade: h2c"),
    "h2c that Connection does not name": _upgrade(b"Upgrade: h2c", _SETTINGS),
    "h2c in two lines of Connection": _upgrade(
        b"Connection: upgrade", b"connection: http2-settings", b"Upgrade: h2c", _SETTINGS
    ),
    "h2c with keep-alive": _upgrade(
        b"Connection: keep-alive, Upgrade, HTTP2-Settings", b"Upgrade: \t h2c \t", _SETTINGS
    ),
    "h2c over HTTP/1.0": _upgrade(_UPGRADE, b"Upgrade: h2c", _SETTINGS, start=b"GET / HTTP/1.0"),
    "h2c by HEAD": _upgrade(_UPGRADE, b"Upgrade: h2c", _SETTINGS, start=b"HEAD / HTTP/1.1"),
    "h2c by POST": _upgrade(
        _UPGRADE, b"Upgrade: h2c", _SETTINGS, b"Content-Length: 4", start=b"POST / HTTP/1.1", body=b"body"
    ),
    "h2c by POST without a body": _upgrade(
        _UPGRADE, b"Upgrade: h2c", _SETTINGS, b"Content-Length: 0", start=b"POST / HTTP/1.1"
    ),
    "websocket, h2c": _upgrade(_UPGRADE, b"Upgrade: websocket, h2c", _SETTINGS, *_WEBSOCKET),
    "h2c, websocket": _upgrade(_UPGRADE, b"Upgrade: h2c, websocket", _SETTINGS, *_WEBSOCKET),
    "h2c,": _upgrade(_UPGRADE, b"Upgrade: h2c,", _SETTINGS),
    "two settings": _upgrade(_UPGRADE, b"Upgrade: h2c", _SETTINGS, _SETTINGS),
    "TLS": _upgrade(b"Connection: Upgrade", b"Upgrade: TLS/1.0"),
    "another protocol": _upgrade(b"Connection: Upgrade", b"Upgrade: websocket2"),
    "websocket/13": _upgrade(b"Connection: Upgrade", b"Upgrade: websocket/13", *_WEBSOCKET),
    "an empty upgrade": _upgrade(b"Connection: Upgrade", b"Upgrade:"),
    "settings alone": _upgrade(b"Connection: HTTP2-Settings", _SETTINGS),
}
_REPEATED = {
    "lines websocket and h2c": _upgrade(_UPGRADE, b"Upgrade: websocket", b"Upgrade: h2c", _SETTINGS, *_WEBSOCKET),
    "lines h2c and websocket": _upgrade(_UPGRADE, b"Upgrade: h2c", b"Upgrade: websocket", _SETTINGS, *_WEBSOCKET),
    "lines h2c and h2c": _upgrade(_UPGRADE, b"Upgrade: h2c", b"upgrade: h2c", _SETTINGS),
}

UPGRADES = [
    # Envoy denies an upgrade to another protocol; the others go on without it.
    Row(f"upgrade to {name}, then {what}", sent, frozenset(expected.split("|")), then=then, at={"envoy": _EITHER})
    for expected, group in ((OWN, _UPGRADES), (EITHER, _REPEATED))
    for name, sent in group.items()
    for what, then in (("HTTP/2", _HTTP2), ("HTTP/1.1", VICTIM_NEXT))
]
UPGRADES += [
    Row("HTTP/2 after an allowed request", request(_OWN_KEY, close=False), frozenset({OWN}), then=_HTTP2),
    Row(
        "a WebSocket of a wrong version, then HTTP/1.1",
        _upgrade(b"Connection: Upgrade", b"Upgrade: websocket", _WEBSOCKET[0], b"Sec-WebSocket-Version: 1"),
        frozenset({OWN, DENIED}),
        then=VICTIM_NEXT,
    ),
    Row(
        "a WebSocket without a key, then HTTP/1.1",
        _upgrade(b"Connection: Upgrade", b"Upgrade: websocket"),
        frozenset({OWN, DENIED}),
        then=VICTIM_NEXT,
    ),
    Row(
        "a WebSocket by POST, then HTTP/1.1",
        _upgrade(
            b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 0", *_WEBSOCKET, start=b"POST / HTTP/1.1"
        ),
        frozenset({OWN, DENIED}),
        then=VICTIM_NEXT,
    ),
    Row(
        "a WebSocket of the victim",
        request(_KEY_OF_VICTIM, b"Connection: Upgrade", b"Upgrade: websocket", *_WEBSOCKET, close=False),
        frozenset({DENIED}),
        then=VICTIM_NEXT,
    ),
    *(
        Row(
            f"CONNECT {target.decode()}, then {what}",
            _upgrade(start=b"CONNECT " + target + b" HTTP/1.1"),
            frozenset({DENIED}),
            then=then,
        )
        for target in (b"127.0.0.1:80", b"/")
        for what, then in (("HTTP/2", _HTTP2), ("HTTP/1.1", VICTIM_NEXT))
    ),
    Row(
        "CONNECT with an upgrade",
        _upgrade(b"Connection: Upgrade", b"Upgrade: websocket", *_WEBSOCKET, start=b"CONNECT 127.0.0.1:80 HTTP/1.1"),
        frozenset({DENIED}),
        then=VICTIM_NEXT,
    ),
]


# --- Names that a server, or CGI, reads as another one ---------------------------------------------------------------

_ALIASES = [
    *(b"X_Account", b"x_account", b"X_ACCOUNT", b"X_Api_Key", b"X-Api_Key", b"X_Api-Key", b"X.Account", b"X.Api.Key"),
    *(b"X!Account", b"X#Account", b"X$Account", b"X%Account", b"X&Account", b"X'Account", b"X*Account", b"X+Account"),
    *(b"X^Account", b"X`Account", b"X|Account", b"X~Account", b"_X-Account", b"X-Account_", b"HTTP_X_ACCOUNT"),
]
NAMES = rows(
    OWN,
    {
        f"{name.decode()} {'before' if first else 'after'} the key": request(*(lines if first else reversed(lines)))
        for name in _ALIASES
        for first in (True, False)
        for lines in [(name + (b": key-of-acct-1" if b"ey" in name else b": acct-1"), _OWN_KEY)]
    },
)
NAMES += rows(
    OWN,
    {
        f"{name.decode()}: {value.decode()}": request(_OWN_KEY, name + b": " + value)
        for name, value in (
            (b"SCRIPT_NAME", b"/v1/accounts/acct-1"),
            (b"PATH_INFO", b"/v1/accounts/acct-1"),
            (b"REMOTE_USER", b"acct-1"),
            (b"REMOTE_ADDR", b"127.0.0.2"),
            (b"REQUEST_METHOD", b"DELETE"),
            (b"CONTENT_LENGTH", b"7"),
            (b"Content_Length", b"7"),
            (b"Transfer_Encoding", b"chunked"),
            (b"CONTENT_TYPE", b"x"),
            (b"QUERY_STRING", b"account=acct-1"),
            (b"wsgi.url_scheme", b"https"),
            (b"X_Forwarded_For", b"127.0.0.2"),
            (b"X-Forwarded_For", b"127.0.0.2"),
            (b"X.Forwarded.For", b"127.0.0.2"),
            (b"X_Real_IP", b"127.0.0.2"),
            (b"X_Forwarded_Proto", b"https"),
            (b"X_Forwarded_Prefix", b"/v1/accounts/acct-1"),
            (b"X-Forwarded-For", b"127.0.0.2"),
            (b"X-Real-IP", b"127.0.0.2"),
            (b"Forwarded", b"for=127.0.0.2;proto=https"),
            (b"X-Forwarded-Prefix", b"/v1/accounts/acct-1"),
            (b"X-Forwarded-Proto", b"https"),
            (b"X-Forwarded-Protocol", b"ssl"),
            (b"X-Forwarded-Ssl", b"on"),
            (b"X-Forwarded-Scheme", b"https"),
            (b"X-Script-Name", b"/v1/accounts/acct-1"),
            (b"X-Original-URL", b"/v1/accounts/acct-1"),
            (b"X-Rewrite-URL", b"/v1/accounts/acct-1"),
            (b"Remote-User", b"acct-1"),
            (b"X-Remote-User", b"acct-1"),
            (b"Proxy", b"http://127.0.0.3:1"),
            (b"X-Account", b"acct-1"),
            (b"X-ACCOUNT", b"acct-1, acct-2"),
        )
    },
)
NAMES += rows(
    EITHER,
    {
        "a space before the colon": request(_OWN_KEY, b"X-Account : acct-1"),
        "a tab before the colon": request(_OWN_KEY, b"X-Account\t: acct-1"),
        "a space within": request(_OWN_KEY, b"X Account: acct-1"),
        "a space before": request(_OWN_KEY, b" X-Account: acct-1"),
        "a line that goes on": request(_OWN_KEY, b"X-Other: a", b"\tX-Account: acct-1"),
        "a bare line feed": request(_OWN_KEY, b"X-Other: a\nX-Account: acct-1"),
        "a bare carriage return": request(_OWN_KEY, b"X-Other: a\rX-Account: acct-1"),
        "a null": request(_OWN_KEY, b"X-Account\0: acct-1"),
        "a letter of Latin-1": request(_OWN_KEY, b"X\xadAccount: acct-1"),
        "a dash of Unicode": request(_OWN_KEY, "X\u2010Account: acct-1".encode()),
        "no name": request(_OWN_KEY, b": acct-1"),
        "no colon": request(_OWN_KEY, b"X-Account"),
        "Connection names the account": request(_OWN_KEY, b"Connection: close, X-Account, X-Api-Key", close=False),
        "Connection names the account and an alias": request(
            _OWN_KEY, b"Connection: close, X-Account", b"X_Account: acct-1", b"X-Account: acct-1", close=False
        ),
        "trailers": request(
            *(_OWN_KEY, b"Transfer-Encoding: chunked", b"Trailer: X-Account, X-Api-Key"),
            start=b"POST / HTTP/1.1",
            body=b"0\r\nX-Account: acct-1\r\nX_Account: acct-1\r\nX-Api-Key: key-of-acct-1\r\n\r\n",
        ),
    },
)


# --- Credentials that two readers may read in two ways ---------------------------------------------------------------

REPETITION = rows(
    DENIED,
    {
        name: request(*lines)
        for name, lines in {
            "own key, key of the victim": (_OWN_KEY, _KEY_OF_VICTIM),
            "key of the victim, own key": (_KEY_OF_VICTIM, _OWN_KEY),
            "own key twice": (_OWN_KEY, _OWN_KEY),
            "own key twice, in two cases of the name": (_OWN_KEY, b"x-api-key: key-of-acct-2"),
            "own key thrice": (_OWN_KEY, _KEY_OF_VICTIM, _OWN_KEY),
            "a comma": (_OWN_KEY + b", key-of-acct-1",),
            "a comma the other way round": (_KEY_OF_VICTIM + b",key-of-acct-2",),
            "a comma at the end": (_OWN_KEY + b",",),
            "a comma at the start": (b"X-Api-Key: ,key-of-acct-2",),
            "a comma and a line": (_OWN_KEY + b",", _KEY_OF_VICTIM),
            "an empty line, own key": (b"X-Api-Key:", _OWN_KEY),
            "own key, an empty line": (_OWN_KEY, b"X-Api-Key:"),
            "an empty line, key of the victim": (b"X-Api-Key:", _KEY_OF_VICTIM),
            "own key in capitals": (b"X-Api-Key: KEY-OF-ACCT-2",),
            "own key with a capital": (b"X-Api-Key: Key-of-acct-2",),
            "key of the victim in capitals": (b"X-Api-Key: KEY-OF-ACCT-1",),
            "own key in quotes": (b'X-Api-Key: "key-of-acct-2"',),
            "own key and a no-break space": (_OWN_KEY + b"\xa0",),
            "own key, a semicolon and the other": (_OWN_KEY + b";key-of-acct-1",),
            "own key, a space and the other": (_OWN_KEY + b" key-of-acct-1",),
            "own key percent-encoded": (b"X-Api-Key: key%2dof-acct-2",),
            "own key with a prefix": (b"X-Api-Key: Bearer key-of-acct-2",),
            "the name of an account as key": (b"X-Api-Key: acct-2",),
            "own key and an end": (_OWN_KEY + b"$",),
            "Authorization twice": (_OWN_KEY, b"Authorization: Bearer key-of-acct-2", b"Authorization: Bearer a"),
            "Authorization twice, same": (_OWN_KEY, b"Authorization: Bearer a", b"authorization: Bearer a"),
            "Authorization with a comma": (_OWN_KEY, b"Authorization: Bearer key-of-acct-2, Bearer key-of-acct-1"),
            "key of the victim, account of its own": (_KEY_OF_VICTIM, b"X-Account: acct-2"),
            "no key, account of its own": (b"X-Account: acct-2",),
            "no key, an alias of the account": (b"X_Account: acct-2",),
            "no key, an alias of the key": (b"X_Api_Key: key-of-acct-2",),
            "no key": (),
        }.items()
    },
)
REPETITION += rows(
    OWN,
    {
        "own key between spaces": request(b"X-Api-Key:   key-of-acct-2  "),
        "a name in capitals": request(b"X-API-KEY: key-of-acct-2"),
        "X-Account twice": request(b"X-Account: acct-1", _OWN_KEY, b"X-Account: acct-1"),
        "one Authorization beside": request(_OWN_KEY, b"Authorization: Bearer another"),
    },
)
REPETITION += rows(
    EITHER,
    {
        "Authorization twice, empty": request(b"Authorization:", _OWN_KEY, b"Authorization: Bearer another"),
        "a key that goes on in the next line": request(b"X-Api-Key: key-of-acct-2", b" key-of-acct-1"),
        "own key between tabs": request(b"X-Api-Key:\tkey-of-acct-2\t"),
        "a key in the next line": request(b"X-Api-Key:", b" key-of-acct-2"),
        "a null after the key": request(_OWN_KEY + b"\0"),
        "a carriage return after the key": request(_OWN_KEY + b"\r,key-of-acct-1"),
    },
)


# --- Paths: prefixes, encodings, what a proxy keeps for itself -------------------------------------------------------

_PATHS = [
    *(b"/cidrgate", b"//cidrgate", b"/cidrgate/", b"/%63idrgate", b"/./cidrgate", b"/x/../cidrgate", b"/@denied"),
    *(b"/@preflight", b"/v1/authorize", b"/v1/authorize/", b"/..", b"/../../healthz", b"/%2e%2e/%2e%2e/healthz"),
    *(b"/..%2f..%2fhealthz", b"/..;/healthz", b"//healthz", b"/?account=acct-2", b"/?x-account=acct-2&", b"/a%00b"),
    *(b"/%0d%0aX-Account:%20acct-2", b"/%ff", b"/%", b"/#", b"/a?b#c", b"//v1/accounts/acct-2", b"/a\\..\\b"),
    *(
        b"http://127.0.0.1/",
        b"http://127.0.0.1:8081/v1/authorize",
        b"http://127.0.0.1@other/",
        b"HTTP://127.0.0.1/healthz",
        b"//",
    ),
    b"/" + b"a" * 4_000,
]
PATHS = rows(
    DENIED,
    {
        f"victim at {path[:40].decode()}": request(_KEY_OF_VICTIM, start=b"GET " + path + b" HTTP/1.1")
        for path in _PATHS
    },
)
PATHS += rows(
    EITHER,
    {f"own at {path[:40].decode()}": request(_OWN_KEY, start=b"GET " + path + b" HTTP/1.1") for path in _PATHS},
)
PATHS += rows(
    EITHER,
    {
        start.decode("latin-1"): request(_OWN_KEY, start=start)
        for start in (
            b"GET / HTTP/1.1 X-Account: acct-1",
            b"GET /a b HTTP/1.1",
            b"GET\t/\tHTTP/1.1",
            b"GET ? HTTP/1.1",
            b"GET * HTTP/1.1",
            b"OPTIONS * HTTP/1.1",
            b"GET  HTTP/1.1",
            b"GET api HTTP/1.1",
            b"GET / HTTP/1.2",
            b"GET / HTTP/3.0",
            b"GET / http/1.1",
            b"GET /\xff HTTP/1.1",
            b"GET / HTTP/1.0",
            b"GET /",
        )
    },
)


# --- Methods ---------------------------------------------------------------------------------------------------------

_METHODS = (b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"PROPFIND", b"QUERY", b"get", b"FOO")
METHODS = rows(
    DENIED,
    {
        f"{method.decode()} of the victim": request(_KEY_OF_VICTIM, b"Content-Length: 0", start=method + b" / HTTP/1.1")
        for method in _METHODS
    },
)
METHODS += rows(
    EITHER,
    {
        f"{method.decode()} of its own": request(_OWN_KEY, b"Content-Length: 0", start=method + b" / HTTP/1.1")
        for method in _METHODS
    },
)
METHODS += rows(
    DENIED,
    {
        f"{name.decode()} of the victim": request(_KEY_OF_VICTIM, name + b": OPTIONS", start=b"POST / HTTP/1.1")
        for name in (b"X-HTTP-Method-Override", b"X-HTTP-Method", b"X-Method-Override", b"X-Forwarded-Method")
    },
)


# --- Where a request ends: what is smuggled in a body ----------------------------------------------------------------

_CHUNKED = b"Transfer-Encoding: chunked"
_IN_A_BODY = request(_KEY_OF_VICTIM, b"X-Account: acct-1", start=b"GET /smuggled HTTP/1.1")


def _post(*lines: bytes, body: bytes, close: bool = True) -> bytes:
    return request(_OWN_KEY, *lines, start=b"POST / HTTP/1.1", body=body, close=close)


def _length(body: bytes) -> bytes:
    return f"Content-Length: {len(body)}".encode()


_LATE = b"0\r\n\r\n" + _IN_A_BODY
FRAMING = rows(
    EITHER,
    {
        "a length and chunks": _post(_length(_LATE), _CHUNKED, body=_LATE, close=False),
        "chunks and a length": _post(_CHUNKED, _length(_LATE), body=_LATE, close=False),
        "chunks before a short length": _post(b"Content-Length: 3", _CHUNKED, body=_LATE, close=False),
        "chunked twice": _post(_length(_LATE), _CHUNKED, _CHUNKED, body=_LATE, close=False),
        "another coding": _post(_length(_LATE), b"Transfer-Encoding: xchunked", body=_LATE, close=False),
        "another coding too": _post(b"Transfer-Encoding: x, chunked", body=_LATE, close=False),
        "chunked and another coding": _post(
            _length(_LATE), b"Transfer-Encoding: chunked, identity", body=_LATE, close=False
        ),
        "chunked after a tab": _post(_length(_LATE), b"Transfer-Encoding:\x0bchunked", body=_LATE, close=False),
        "chunked before the colon": _post(_length(_LATE), b"Transfer-Encoding : chunked", body=_LATE, close=False),
        "an alias of chunked": _post(_length(_LATE), b"Transfer_Encoding: chunked", body=_LATE, close=False),
        "an alias of the length": _post(_length(_LATE), b"Content_Length: 0", body=_LATE, close=False),
        "two lengths": _post(b"Content-Length: 0", _length(_LATE), body=_LATE, close=False),
        "two lengths in a line": _post(b"Content-Length: 0, 5", body=_LATE, close=False),
        "a length with a sign": _post(b"Content-Length: +" + _length(_LATE)[16:], body=_LATE, close=False),
        "a length below zero": _post(b"Content-Length: -1", body=_LATE, close=False),
        "a length of another base": _post(b"Content-Length: 0x0", body=_LATE, close=False),
        "a chunk with an extension": _post(_CHUNKED, body=b"1;a=\n\r\nb\r\n" + _LATE, close=False),
        "a chunk with a sign": _post(_CHUNKED, body=b"+0\r\n\r\n" + _IN_A_BODY, close=False),
        "a chunk too large for a number": _post(_CHUNKED, body=b"ffffffffffffffff0\r\n\r\n" + _LATE),
        "chunks with bare line feeds": _post(_CHUNKED, body=b"1\nb\n0\n\n" + _IN_A_BODY, close=False),
        "HTTP/1.0 with chunks": request(
            _OWN_KEY, _CHUNKED, b"Connection: keep-alive", start=b"POST / HTTP/1.0", body=_LATE, close=False
        ),
        "a body of GET": request(_OWN_KEY, _length(_IN_A_BODY), body=_IN_A_BODY),
        "a body of HEAD": request(_OWN_KEY, _length(_IN_A_BODY), start=b"HEAD / HTTP/1.1", body=_IN_A_BODY),
        "a body of GET without a length": request(_OWN_KEY, body=_IN_A_BODY, close=False),
        "pipelined": request(_OWN_KEY, close=False) + VICTIM_NEXT,
        "pipelined the other way round": request(_KEY_OF_VICTIM, close=False) + request(_OWN_KEY),
        "pipelined after a body": _post(b"Content-Length: 4", body=b"body" + VICTIM_NEXT, close=False),
        "pipelined after chunks": _post(_CHUNKED, body=b"0\r\n\r\n" + VICTIM_NEXT, close=False),
        "two hosts": request(_OWN_KEY, b"Host: other"),
        "line feeds alone": request(_OWN_KEY).replace(b"\r\n", b"\n"),
        "line feeds in front": b"\r\n\r\n" + request(_OWN_KEY),
        "a head of 100 KB": request(_OWN_KEY, b"X-Padding: " + b"a" * 100_000),
        "1,000 lines": request(*([b"X-Padding: a"] * 1_000), _OWN_KEY),
        "1,000 lines before the key of the victim": request(_OWN_KEY, *([b"X-Padding: a"] * 1_000), _KEY_OF_VICTIM),
    },
)


# --- Bodies of any size ----------------------------------------------------------------------------------------------

_BODY = bytes(range(256)) * 12_288
"""3 MB."""


def _chunks(body: bytes) -> bytes:
    parts = [body[at : at + 65_536] for at in range(0, len(body), 65_536)]
    return b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in [*parts, b""])


_CONTINUE = b"Expect: 100-continue"
BODIES = [
    Row(
        f"3 MB of {owner} by {method.decode()}, {how}",
        request(key, *lines, start=method + b" / HTTP/1.1", body=_chunks(_BODY) if _CHUNKED in lines else _BODY),
        frozenset({expected}),
        body=_BODY,
    )
    for owner, key, expected in (("its own", _OWN_KEY, OWN), ("the victim", _KEY_OF_VICTIM, DENIED))
    for method in (b"POST", b"PUT", b"PATCH", b"DELETE")
    for how, lines in {
        "with a length": (_length(_BODY),),
        "in chunks": (_CHUNKED,),
        "with a length, expecting 100": (_length(_BODY), _CONTINUE),
        "in chunks, expecting 100": (_CHUNKED, _CONTINUE),
    }.items()
    if method in (b"POST", b"PUT") or how == "with a length"
]
BODIES += rows(
    OWN,
    {
        "a small body with a length": _post(b"Content-Length: 4", body=b"body"),
        "an empty body": _post(b"Content-Length: 0", body=b""),
        "an empty body in chunks": _post(_CHUNKED, body=b"0\r\n\r\n"),
    },
)
BODIES += rows(OWN, {"an answer of 3 MB": request(_OWN_KEY, start=b"GET /big/3000000 HTTP/1.1")})
BODIES += rows(
    DENIED, {"an answer of 3 MB for the victim": request(_KEY_OF_VICTIM, start=b"GET /big/3000000 HTTP/1.1")}
)


# --- Preflights: what browsers ask before a request across origins, without any credential ---------------------------

_ORIGIN = b"Origin: https://app.example.com"
_ASKED = b"Access-Control-Request-Method: PUT"
_FORGED = (b"X-Account: acct-1", b"X_Account: acct-1", b"X_Api_Key: key-of-acct-1", b"X-HTTP-Method-Override: GET")


def _preflight(*lines: bytes, start: bytes = b"OPTIONS / HTTP/1.1", close: bool = True, body: bytes = b"") -> bytes:
    return request(*lines, start=start, close=close, body=body)


PREFLIGHTS = rows(
    NOBODY,
    {
        "a preflight": _preflight(_ORIGIN, _ASKED, b"Access-Control-Request-Headers: x-api-key"),
        "a preflight at a path": _preflight(_ORIGIN, _ASKED, start=b"OPTIONS /v1/accounts/acct-1?a=b HTTP/1.1"),
        "a preflight with forged headers": _preflight(_ORIGIN, _ASKED, *_FORGED),
        "a preflight with a cookie": _preflight(_ORIGIN, _ASKED, b"Cookie: key=key-of-acct-1", b"Remote-User: acct-1"),
    },
)
PREFLIGHTS += rows(
    f"{NOBODY}|{DENIED}",
    {
        "a preflight with an empty key, then one of the victim": _preflight(
            _ORIGIN, _ASKED, b"X-Api-Key:", _KEY_OF_VICTIM
        ),
        "a preflight with an empty Authorization, then one of the victim": _preflight(
            _ORIGIN, _ASKED, b"Authorization:", b"Authorization: Bearer key-of-acct-1"
        ),
        "a preflight with a body": _preflight(
            _ORIGIN, _ASKED, *_FORGED, _length(_IN_A_BODY), close=False, body=_IN_A_BODY
        ),
        "a preflight with chunks": _preflight(_ORIGIN, _ASKED, *_FORGED, _CHUNKED, close=False, body=_LATE),
        "a preflight of HTTP/1.0": _preflight(_ORIGIN, _ASKED, *_FORGED, start=b"OPTIONS / HTTP/1.0"),
        "a preflight of everything": _preflight(_ORIGIN, _ASKED, *_FORGED, start=b"OPTIONS * HTTP/1.1"),
        "a preflight at an absolute target": _preflight(
            _ORIGIN, _ASKED, *_FORGED, start=b"OPTIONS http://127.0.0.1/ HTTP/1.1"
        ),
        "a preflight, pipelined": _preflight(_ORIGIN, _ASKED, close=False) + VICTIM_NEXT,
        "a preflight from two origins": _preflight(_ORIGIN, _ORIGIN, _ASKED, _ASKED, *_FORGED),
    },
)
PREFLIGHTS += [
    Row(f"a preflight with an upgrade to {name}", sent, frozenset({NOBODY, DENIED}), then=then)
    for name, sent, then in (
        ("h2c", _preflight(_ORIGIN, _ASKED, _UPGRADE, b"Upgrade: h2c", _SETTINGS, close=False), _HTTP2),
        (
            "websocket",
            _preflight(_ORIGIN, _ASKED, b"Connection: Upgrade", b"Upgrade: websocket", *_WEBSOCKET, close=False),
            VICTIM_NEXT,
        ),
    )
]
PREFLIGHTS += rows(
    DENIED,
    {
        "a preflight with the key of the victim": _preflight(_ORIGIN, _ASKED, _KEY_OF_VICTIM),
        "a preflight with two keys": _preflight(_ORIGIN, _ASKED, _OWN_KEY, _KEY_OF_VICTIM),
        "a preflight with a key with a comma": _preflight(_ORIGIN, _ASKED, _OWN_KEY + b", key-of-acct-1"),
        "a preflight with another key": _preflight(_ORIGIN, _ASKED, b"X-Api-Key: another"),
        "a preflight with a token": _preflight(_ORIGIN, _ASKED, b"Authorization: Bearer key-of-acct-1"),
        "OPTIONS without anything": _preflight(),
        "OPTIONS without an origin": _preflight(_ASKED),
        "OPTIONS without a method asked for": _preflight(_ORIGIN),
        "OPTIONS with an empty origin": _preflight(b"Origin:", _ASKED),
        "OPTIONS with an empty method": _preflight(_ORIGIN, b"Access-Control-Request-Method:"),
        "OPTIONS with aliases": _preflight(b"Origin_: a", b"Access_Control_Request_Method: PUT", _ORIGIN),
        "GET with the headers of a preflight": _preflight(_ORIGIN, _ASKED, start=b"GET / HTTP/1.1"),
        "POST with the headers of a preflight": _preflight(
            _ORIGIN, _ASKED, b"X-HTTP-Method-Override: OPTIONS", b"Content-Length: 0", start=b"POST / HTTP/1.1"
        ),
        "OPTIONS of another case": _preflight(_ORIGIN, _ASKED, start=b"options / HTTP/1.1"),
        "OPTIONSS": _preflight(_ORIGIN, _ASKED, start=b"OPTIONSS / HTTP/1.1"),
    },
)
PREFLIGHTS += rows(
    OWN,
    {
        "OPTIONS with its own key": _preflight(_OWN_KEY),
        "a preflight with its own key": _preflight(_ORIGIN, _ASKED, _OWN_KEY),
    },
)

# --- Trailers: what follows a body in chunks, and what some servers take for headers ---------------------------------

_TRAILERS = {
    "the account": b"X-Account: acct-1\r\n",
    "aliases of the account": b"X_Account: acct-1\r\nX.Account: acct-1\r\n",
    "the key": b"X-Api-Key: key-of-acct-1\r\n",
    "a token": b"Authorization: Bearer key-of-acct-1\r\n",
    "the address": b"X-Forwarded-For: 127.0.0.2\r\nX-Real-IP: 127.0.0.2\r\nForwarded: for=127.0.0.2\r\n",
    "what an API trusts a proxy with": b"X-Forwarded-Prefix: /v1/accounts/acct-1\r\nRemote-User: acct-1\r\n",
    "another method": b"X-HTTP-Method-Override: POST\r\nCookie: key=key-of-acct-1\r\n",
    "an upgrade": b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    "another length": b"Content-Length: 7\r\nTransfer-Encoding: chunked\r\nHost: other\r\n",
    "a single letter": b"X:\r\n",
}
_DECLARED = b"Trailer: X-Account, X-Api-Key, Authorization, X-Forwarded-For, X-HTTP-Method-Override"
_PART = b"4\r\nbody\r\n"


def _with_trailers(what: str, trailers: bytes) -> list[Row]:
    end = b"0\r\n" + trailers + b"\r\n"
    kinds = {
        "a request": (EITHER, _post(_CHUNKED, body=b"")),
        "a request that declares them": (EITHER, _post(_CHUNKED, _DECLARED, body=b"")),
        "a request of the victim": (DENIED, request(_KEY_OF_VICTIM, _CHUNKED, start=b"POST / HTTP/1.1")),
        "a preflight": (f"{NOBODY}|{DENIED}", _preflight(_ORIGIN, _ASKED, _CHUNKED)),
        "a preflight that declares them": (f"{NOBODY}|{DENIED}", _preflight(_ORIGIN, _ASKED, _CHUNKED, _DECLARED)),
    }
    ways = {
        "at once": (_PART + end, b""),
        "without a body": (end, b""),
        "later": (_PART, end),
        "in two parts": (_PART + end[:-4], end[-4:]),
    }
    return [
        Row(f"{kind} with {what} in trailers, {when}", head + now, frozenset(expected.split("|")), later=later)
        for kind, (expected, head) in kinds.items()
        for when, (now, later) in ways.items()
        if when == "at once" or kind in ("a request", "a preflight")
    ]


TRAILERS = [row for what, trailers in _TRAILERS.items() for row in _with_trailers(what, trailers)]
TRAILERS += [
    Row(
        "trailers after 3 MB",
        request(_OWN_KEY, _CHUNKED, start=b"POST / HTTP/1.1", body=_chunks(_BODY)[:-2] + b"X-Account: acct-1\r\n\r\n"),
        _EITHER,
    ),
    Row(
        "a WebSocket with trailers",
        _upgrade(
            *(b"Connection: Upgrade", b"Upgrade: websocket", _CHUNKED, *_WEBSOCKET),
            body=b"0\r\nX-Account: acct-1\r\nX-Api-Key: key-of-acct-1\r\n\r\n",
        ),
        _EITHER,
        then=VICTIM_NEXT,
    ),
]

ROWS = [*UPGRADES, *NAMES, *REPETITION, *PATHS, *METHODS, *FRAMING, *BODIES, *PREFLIGHTS]

# Sent to servers of the API that are more careful than others: what depends on how a server reads names and framing.
SHORT_ROWS = [*NAMES, *FRAMING]


# --- HTTP/2 with prior knowledge to the proxy's plain port -----------------------------------------------------------


@dataclass(frozen=True, slots=True)
class H2Row:
    """An attack over HTTP/2: the fields of a request; `expected` is as in `Row`, and a proxy may refuse HTTP/2."""

    name: str
    fields: tuple[tuple[bytes, bytes], ...]
    expected: frozenset[str]


def _h2(
    name: str, expected: str, *fields: tuple[bytes, bytes], method: bytes = b"GET", path: bytes | None = b"/"
) -> H2Row:
    pseudo = [(b":method", method), (b":scheme", b"http"), (b":authority", b"127.0.0.1")]
    pseudo += [(b":path", path)] if path is not None else []
    extra = [pair for pair in fields if pair[0].startswith(b":")]
    plain = [pair for pair in fields if not pair[0].startswith(b":")]
    return H2Row(name, (*pseudo, *extra, *plain), frozenset({*expected.split("|"), DENIED}))


_H2_OWN = (b"x-api-key", b"key-of-acct-2")
_H2_VICTIM = (b"x-api-key", b"key-of-acct-1")
H2_ROWS = [
    _h2("own", OWN, _H2_OWN),
    _h2("victim", DENIED, _H2_VICTIM),
    _h2("account of the victim", OWN, _H2_OWN, (b"x-account", b"acct-1")),
    *(
        _h2(f"{name.decode()}", OWN, _H2_OWN, (name, b"acct-1"))
        for name in (b"x_account", b"X-Account", b"x.account", b"script_name", b"http_x_account")
    ),
    _h2("two keys", DENIED, _H2_OWN, _H2_VICTIM),
    _h2("two keys the other way round", DENIED, _H2_VICTIM, _H2_OWN),
    _h2("a comma", DENIED, (b"x-api-key", b"key-of-acct-2, key-of-acct-1")),
    _h2("a line feed in a value", DENIED, _H2_OWN, (b"x-other", b"a\r\nX-Account: acct-1")),
    _h2("a line feed in a name", DENIED, _H2_OWN, (b"x-other: a\r\nx-account", b"acct-1")),
    _h2("a colon in a name", DENIED, _H2_OWN, (b"x-account:", b"acct-1")),
    _h2("a request in the path", DENIED, _H2_OWN, path=b"/ HTTP/1.1\r\nX-Account: acct-1\r\nX: "),
    _h2("a request in the method", DENIED, _H2_OWN, method=b"GET / HTTP/1.1\r\nX-Account: acct-1\r\nX: "),
    _h2("upgrade to h2c", OWN, _H2_OWN, (b"connection", b"upgrade"), (b"upgrade", b"h2c")),
    _h2("chunks", OWN, _H2_OWN, (b"transfer-encoding", b"chunked")),
    _h2("CONNECT", DENIED, _H2_OWN, method=b"CONNECT", path=None),
    _h2("CONNECT for h2c", OWN, _H2_OWN, (b":protocol", b"h2c"), method=b"CONNECT"),
    _h2("CONNECT for a WebSocket", OWN, _H2_OWN, (b":protocol", b"websocket"), method=b"CONNECT"),
    _h2("CONNECT for a WebSocket of the victim", DENIED, _H2_VICTIM, (b":protocol", b"websocket"), method=b"CONNECT"),
    _h2(
        "a preflight with forged headers",
        NOBODY,
        (b"origin", b"https://app.example.com"),
        (b"access-control-request-method", b"PUT"),
        (b"x-account", b"acct-1"),
        (b"x_api_key", b"key-of-acct-1"),
        method=b"OPTIONS",
    ),
]
