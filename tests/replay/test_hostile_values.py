"""Whatever a client sends, a line says it exactly, or is a bad line. The lines are written here as each server does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pytest
from hypothesis import assume, example, given, strategies as st

from cidrgate.gate import FromPath
from cidrgate.replay import FORMATS, LogFormat, LogSource, format_of_template
from cidrgate.replay.lines import LineCutter
from tests.golden_lines import octets_as_text
from tests.replay.logs import CLOUDFRONT, IN_APACHE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

IN_ENVOY = "2026-10-10T11:55:36.000Z"


def by_nginx(value: bytes) -> bytes:
    """As `log_format` does without `escape=`."""
    return b"".join(b"\\x%02X" % one if one < 32 or one > 126 or one in b'"\\' else bytes([one]) for one in value)


def by_apache(value: bytes) -> bytes:
    letters = {8: b"\\b", 9: b"\\t", 10: b"\\n", 11: b"\\v", 13: b"\\r", ord('"'): b'\\"', ord("\\"): b"\\\\"}
    return b"".join(letters.get(one) or (bytes([one]) if 32 <= one < 127 else b"\\x%02x" % one) for one in value)


def by_haproxy(value: bytes, signs: bytes = b'{|}"#') -> bytes:
    return b"".join(b"#%02X" % one if one < 32 or one > 126 or one in signs else bytes([one]) for one in value)


def by_cloudfront(value: bytes) -> bytes:
    return b"".join(
        b"%%%02X" % one if one <= 32 or one > 126 or one in b'<>"#{|}^~[]`\\' else bytes([one]) for one in value
    )


def as_it_is(value: bytes) -> bytes:
    return value


def with_quotes_escaped(value: bytes) -> bytes:
    return value.replace(b'"', b'\\"')


class Written(NamedTuple):
    """How a server writes a line.

    Attributes:
        form: What reads it.
        line: The line; `@user` and so on stand for what clients send.
        ways: How the server writes each of these.
        whole: Whether every line is good, whatever clients send.
        columns: What `--columns` says.
        header: The fields of a line, if the file names them.
    """

    form: LogFormat
    line: str
    ways: Mapping[str, Callable[[bytes], bytes]]
    whole: bool
    columns: Mapping[str, str]
    header: tuple[str, ...] = ()


def all_by(way: Callable[[bytes], bytes], **others: Callable[[bytes], bytes]) -> dict[str, Callable[[bytes], bytes]]:
    return {
        **dict.fromkeys(("path", "query", "referrer", "agent", "account", "cookie", "forwarded", "user"), way),
        **others,
    }


COMBINED = f'9.9.9.9 - - [{IN_APACHE}] "GET @path?@query HTTP/1.1" 200 12 "@referrer" "@agent"'
IN_TRAEFIK = f'{COMBINED.replace("- -", "- @user")} 7 "api@file" "http://127.0.0.1:9000" 3ms'
NGINX = (
    '$remote_addr [$time_local] "$request" $status "$http_referer" "$http_user_agent" "$http_account" '
    '"$http_x_forwarded_for"'
)
APACHE = r"%a %t \"%r\" %>s \"%{Referer}i\" \"%{User-Agent}i\" \"%{Account}i\" \"%{X-Forwarded-For}i\""
OWN = f'9.9.9.9 [{IN_APACHE}] "GET @path?@query HTTP/1.1" 200 "@referrer" "@agent" "@account" "@forwarded"'
PLAIN = "%a %t %{Account}i %{X-Forwarded-For}i"
ENVOY = (
    '%DOWNSTREAM_REMOTE_ADDRESS% [%START_TIME%] "%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL%" "%REQ(REFERER)%" '
    '"%REQ(USER-AGENT)%" "%REQ(ACCOUNT)%" "%REQ(X-FORWARDED-FOR)%"'
)
BY_AGENT = {"account": "http_user_agent"}
IN_OWN = {"account": "http_account", "address": "remote_addr", "forwarded": "http_x_forwarded_for"}
VALUES = {"date": "2026-10-10", "time": "11:55:36", "c-ip": "9.9.9.9", "cs-uri-stem": "@path", "cs(Cookie)": "@account"}
VALUES |= {"cs(Referer)": "@referrer", "cs(User-Agent)": "@agent", "x-forwarded-for": "@forwarded"}

SERVERS = {
    "nginx": Written(FORMATS["combined"], COMBINED, all_by(by_nginx), whole=True, columns=BY_AGENT),
    "Apache": Written(FORMATS["combined"], COMBINED, all_by(by_apache), whole=True, columns=BY_AGENT),
    "nginx's own": Written(format_of_template(NGINX), OWN, all_by(by_nginx), whole=True, columns=IN_OWN),
    "nginx's own, escape=none": Written(format_of_template(NGINX), OWN, all_by(as_it_is), whole=False, columns=IN_OWN),
    "Apache's own": Written(format_of_template(APACHE), OWN, all_by(by_apache), whole=True, columns=IN_OWN),
    "Apache's own, no quotes": Written(
        format_of_template(PLAIN), f"9.9.9.9 [{IN_APACHE}] @account @forwarded", all_by(by_apache), whole=False,
        columns=IN_OWN,
    ),
    "Envoy": Written(
        FORMATS["envoy"],
        f'[{IN_ENVOY}] "GET @path?@query HTTP/1.1" 200 - 0 5 3 2 "@forwarded" "@agent" "id" "@account" "10.0.0.5:80"',
        all_by(as_it_is), whole=False, columns={"account": "http_:authority", "address": "http_x_forwarded_for"},
    ),
    "Envoy's own": Written(
        format_of_template(ENVOY),
        f'9.9.9.9:81 [{IN_ENVOY}] "GET @path?@query HTTP/1.1" "@referrer" "@agent" "@account" "@forwarded"',
        all_by(as_it_is), whole=False, columns=IN_OWN,
    ),
    "Traefik without escapes": Written(
        FORMATS["traefik"], IN_TRAEFIK, all_by(as_it_is), whole=False,
        columns={"account": "remote_user"},
    ),
    "Traefik": Written(
        FORMATS["traefik"], IN_TRAEFIK,
        all_by(with_quotes_escaped, path=as_it_is, query=as_it_is, user=as_it_is), whole=False,
        columns={"account": "remote_user"},
    ),
    "HAProxy": Written(
        FORMATS["haproxy"],
        "haproxy[1]: 9.9.9.9:33317 [10/Oct/2026:11:55:36.000] http-in static/srv1 1/0/3/6/1 200 27 - - ---- "
        '1/1/1/1/0 0/0 {@referrer|@account} {x} "GET @path?@query HTTP/1.1"',
        all_by(by_haproxy, path=lambda value: by_haproxy(value, b'"#'), query=lambda value: by_haproxy(value, b'"#')),
        whole=True, columns={"account": "capture_2"},
    ),
    "HAProxy with a cookie": Written(
        FORMATS["haproxy"],
        "haproxy[1]: 9.9.9.9:33317 [10/Oct/2026:11:55:36.000] http-in static/srv1 1/0/3/6/1 200 27 @cookie - ---- "
        '1/1/1/1/0 0/0 {@referrer|@account} {x} "GET @path?@query HTTP/1.1"',
        all_by(by_haproxy, cookie=as_it_is), whole=False, columns={"account": "capture_2"},
    ),
    "CloudFront": Written(
        FORMATS["cloudfront"], "\t".join(VALUES.get(name, "-") for name in CLOUDFRONT.split()),
        all_by(by_cloudfront, path=as_it_is), whole=True, columns={"account": "cs(Cookie)"},
        header=tuple(CLOUDFRONT.split()),
    ),
}  # fmt: skip

PIECES = [
    '"', '" "', '\\"', '\\\\"', "\\", "\\x22", "\\xC3\\xAB", "\\n", "#22", "{b|", "} {", "|", "[", "] ", " [", " - ",
    " ", "  ", "a", "acct-2", "8.8.8.8", "1.1.1.1, 2.2.2.2", "é", "😀", "200 5 ", "HTTP/1.1", "/v1/accounts/x/",
    ' ---- 1/1 0/0 {b|c} "GET / H', "{b|c} ", "s=x a b c d ", '] "GET /v1/accounts/b HTTP/1.1" 200 1 "-"',
]  # fmt: skip
RAW = [b"\xff", b"\xc3", b"\x80\x80", b"\xed\xa0\x80", b"\x01", b"\x7f", b"\t", b"\n", b"\r"]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=5).map(lambda parts: "".join(parts).encode())
OCTETS = st.lists(st.sampled_from([*(one.encode() for one in PIECES), *RAW]), max_size=5).map(b"".join)


def read(server: Written, line: bytes, wanted: frozenset[str]) -> dict[str, Any] | None:
    """What the replay reads; None for a bad line."""
    account = FromPath("/(?P<account>[^/]+)") if "path" in wanted else None
    source = LogSource(files=["x"], form=server.form, columns=server.columns, account=account)
    batch = pa.RecordBatch.from_arrays([pa.array([line.decode()], pa.string())], ["line"])
    cut = LineCutter(source, server.header, wanted)._cut(batch)
    cut.validate(full=True)
    [row] = cut.to_pylist()
    return None if row["address"] is None else row


def checked(name: str, sent: dict[str, bytes]) -> None:
    """Write a line with what clients send, and compare what is read with it."""
    server = SERVERS[name]
    # No server takes a request whose path has a space or a control character.
    for one in ("path", "query"):
        sent[one] = sent[one].translate(None, bytes(range(33)) + b"\x7f")
    sent["path"] = b"/" + sent["path"].replace(b"?", b"")
    line = server.line.encode()
    for key, value in sent.items():
        written = server.ways[key](value)
        line = line.replace(b"@" + key.encode(), written or b"-" if key == "forwarded" else written)
    address = octets_as_text(sent["forwarded"]) if name == "Envoy" else "9.9.9.9"
    for role in ("account", "path") if "path" in server.form.roles else ("account",):
        row = read(
            server, line, frozenset({"address", role} | ({"forwarded"} if "forwarded" in server.columns else set()))
        )
        if row is None:
            assert not server.whole, line
            continue
        assert row["address"] == (address or "-"), line
        if "forwarded" in row:
            assert row["forwarded"] == (octets_as_text(sent["forwarded"]) or "-"), line
        if role == "path":
            assert row["path"] == octets_as_text(sent["path"]), line
        if role == "account" and server.columns["account"] != "remote_user":
            field = {"http_user_agent": "agent"}.get(server.columns["account"], "account")
            text = octets_as_text(sent[field])
            assert row["account"] == (None if text in ("", "-") else text), line


ASKED = ("path", "query", "referrer", "agent", "account", "cookie", "forwarded", "user")
PLAIN_VALUES = dict.fromkeys(ASKED, b"x")


def is_raw(server: Written) -> bool:
    return as_it_is in server.ways.values()


@pytest.mark.parametrize("name", SERVERS)
@given(data=st.data())
@example(data=None)
def test_what_clients_send_is_read_exactly_or_the_line_is_bad(name: str, data: st.DataObject | None) -> None:
    if data is None:
        checked(name, dict(PLAIN_VALUES))
        return
    chosen = data.draw(st.lists(st.sampled_from(ASKED), min_size=1, max_size=3, unique=True))
    values = TEXTS if is_raw(SERVERS[name]) or with_quotes_escaped in SERVERS[name].ways.values() else OCTETS
    sent = {**PLAIN_VALUES, **{one: data.draw(values) for one in chosen}}
    # A digit behind a sign is a digit, wherever nobody decodes: such a log has no answer.
    if name in ("nginx's own, escape=none",):
        assume(not any(b"\\" in one for one in sent.values()))
    checked(name, sent)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        # One quote more and one less: cut at quotes without a backslash before them, the address would be 8.8.8.8.
        ("Envoy", {"forwarded": b'8.8.8.8" x, 9.9.9.9', "agent": b"curl\\"}),
        ("Apache", {"path": b'v1/accounts/p"/x'}),
        ("Apache's own", {"account": b'a"b'}),
        ("nginx's own", {"account": "Zo\u00eb".encode()}),
        ("HAProxy with a cookie", {"cookie": b"{b|c}", "account": b"d"}),
        ("HAProxy with a cookie", {"cookie": b"s=x a b c d {a|victim} -"}),
        ("HAProxy with a cookie", {"cookie": b"{a|victim} {b} - ---- 1/1/1/1/0 0/0 {a|victim} {b} "}),
        ("HAProxy", {"account": "Zo\u00eb {x}".encode()}),
        ("CloudFront", {"forwarded": b"8.8.8.8, 9.9.9.9"}),
        ("Traefik", {"agent": b'foo " bar'}),
        ("Traefik without escapes", {"agent": b'foo " bar'}),
        ("Traefik without escapes", {"user": b'x [T] "GET /v1/accounts/victim HTTP/1.1" 200 1 "-"'}),
        ("Traefik", {"user": b'x [10/Oct/2026:11:55:36 +0000] "GET /v1/accounts/victim HTTP/1.1" 200 1 "-" "-'}),
    ],
)
def test_values_that_were_read_as_others(name: str, values: dict[str, bytes]) -> None:
    checked(name, {**PLAIN_VALUES, **values})


def test_a_line_of_envoy_that_could_be_cut_in_two_ways_is_bad() -> None:
    server = SERVERS["Envoy"]
    line = server.line.replace("@forwarded", '8.8.8.8" x, 9.9.9.9').replace("@agent", "curl\\")
    assert read(server, line.encode(), frozenset({"address", "account"})) is None


@pytest.mark.parametrize("way", [as_it_is, with_quotes_escaped])
def test_quotes_behind_the_request_spoil_no_line_of_traefik(way: Callable[[bytes], bytes]) -> None:
    line = SERVERS["Traefik"].line.encode().replace(b"@agent", way(b'foo " bar')).replace(b"@path", b"/a")
    row = read(SERVERS["Traefik"], line, frozenset({"address", "path"}))
    assert row is not None
    assert (row["address"], row["path"]) == ("9.9.9.9", "/a")


REQUESTS = [
    ("GET /v1/a?x=1 HTTP/1.1", "/v1/a"),
    ("GET https://api.example.com/v1/a?x=1 HTTP/2.0", "/v1/a"),
    ("GET http://api.example.com:8080/v1/a HTTP/1.1", "/v1/a"),
    ("GET HTTPS://[2001:db8::1]:443/v1/a HTTP/1.1", "/v1/a"),
    ("GET https://api.example.com HTTP/2.0", None),
    ("OPTIONS * HTTP/1.1", "*"),
    ("CONNECT example.com:443 HTTP/1.1", "example.com:443"),
    # A path that is cut off, or goes on behind a space, would be that of another account.
    ("GET /v1/a", None),
    ("GET /v1/a ", None),
    ("GET /v1/a HT", None),
    ("GET /v1/a b HTTP/1.1", None),
    ("GET /v1/a  HTTP/1.1", None),
    ("<BADREQ>", None),
    ("-", None),
]
"""Request lines, and the path that a server behind a proxy gets."""

WITH_REQUESTS = {
    "combined": (FORMATS["combined"], f'9.9.9.9 - - [{IN_APACHE}] "@" 200 12 "-" "-"'),
    "template": (format_of_template(NGINX), f'9.9.9.9 [{IN_APACHE}] "@" 200 "-" "-" "-" "-"'),
    "Apache": (format_of_template(APACHE), f'9.9.9.9 [{IN_APACHE}] "@" 200 "-" "-" "-" "-"'),
    "Traefik": (FORMATS["traefik"], f'9.9.9.9 - - [{IN_APACHE}] "@" 200 12 "-" "-" 7 "r" "s" 3ms'),
    "HAProxy": (
        FORMATS["haproxy"],
        'haproxy[1]: 9.9.9.9:33317 [10/Oct/2026:11:55:36.000] fe~ be/s 1/0/3/6/1 200 27 - - ---- 1/1/1/1/0 0/0 "@"',
    ),
    "ALB": (
        FORMATS["aws-alb"],
        f'h2 {IN_ENVOY} app/x 9.9.9.9:2817 10.0.0.1:80 0.0 0.0 0.0 200 200 34 366 "@" "curl" - - arn "R" "-" "-" 0 '
        f'{IN_ENVOY} "forward" "-" "-" "10.0.0.1:80" "200" "-" "-"',
    ),
}


@pytest.mark.parametrize("name", WITH_REQUESTS)
@pytest.mark.parametrize(("request_line", "path"), REQUESTS)
def test_the_path_is_what_a_proxy_passes_on(name: str, request_line: str, path: str | None) -> None:
    form, line = WITH_REQUESTS[name]
    server = Written(form, line, {}, whole=True, columns={})
    row = read(server, line.replace("@", request_line).encode(), frozenset({"address", "path"}))
    assert row is not None
    assert (row["address"], row["path"] or None) == ("9.9.9.9", path)
