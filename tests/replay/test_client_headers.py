"""The client is read from the header that is asked for, in every format, or the replay says what is missing."""

from __future__ import annotations

import json
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cidrgate import Matcher
from cidrgate.gate import ClientIPResolver
from cidrgate.replay import FORMATS, LogError, LogFormat, LogSource, format_of_template, replay
from tests.replay import logs

if TYPE_CHECKING:
    from pathlib import Path

PEER = "10.0.0.1"
SENT = {
    "X-Forwarded-For": "198.51.100.1",
    "CF-Connecting-IP": "198.51.100.2",
    "X-Real-Ip": "198.51.100.3",
    "Forwarded": "for=198.51.100.4",
    "x.odd": "198.51.100.5",
}
"""What the proxy sends, as it may be written: every header names another client."""

ALLOWED = {"X-Forwarded-For": "198.51.100.1/32", "CF-Connecting-IP": "198.51.100.2/32", "X-Real-Ip": "198.51.100.3/32"}
ALLOWED |= {"Forwarded": "198.51.100.4/32", "x.odd": "198.51.100.5/32"}

NGINX = (
    '$remote_addr [$time_local] "$http_x_forwarded_for" "$http_cf_connecting_ip" "$http_x_real_ip" "$http_forwarded"'
)
APACHE = '%a %t "%{X-Forwarded-For}i" "%{CF-Connecting-IP}i" "%{X-Real-IP}i" "%{Forwarded}i"'
ENVOY = (
    '%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT% [%START_TIME%] "%REQ(X-FORWARDED-FOR)%" '
    '"%REQ(CF-CONNECTING-IP)%" "%REQ(X-REAL-IP)%" "%REQ(FORWARDED)%"'
)
IN_TEMPLATES = f'"{SENT["X-Forwarded-For"]}" "{SENT["CF-Connecting-IP"]}" "{SENT["X-Real-Ip"]}" "{SENT["Forwarded"]}"'

CADDY = json.loads(logs.caddy(PEER, "a"))
# Go's servers write every name in one way, whatever the client wrote.
CADDY["request"]["headers"] = {
    "X-Forwarded-For": [SENT["X-Forwarded-For"]],
    "Cf-Connecting-Ip": [SENT["CF-Connecting-IP"]],
    "X-Real-Ip": [SENT["X-Real-Ip"]],
    "Forwarded": [SENT["Forwarded"]],
}
TRAEFIK = json.loads(logs.traefik_json(PEER, "a")) | {
    f"request_{name}": value for name, (value,) in CADDY["request"]["headers"].items()
}
IN_CLOUDFRONT = logs.cloudfront(PEER, "a").split("\t")
IN_CLOUDFRONT[logs.CLOUDFRONT.split().index("x-forwarded-for")] = SENT["X-Forwarded-For"]

ALL_BUT_ODD = {*SENT} - {"x.odd"}
KNOWN: dict[str, tuple[LogFormat, str, set[str]]] = {
    "csv": (FORMATS["csv"], f"account,address,time\na,{PEER},{logs.AT}", set()),
    "jsonl": (FORMATS["jsonl"], json.dumps({"account": "a", "address": PEER, "time": logs.AT}), set()),
    "parquet": (FORMATS["parquet"], "", set()),
    "combined": (FORMATS["combined"], logs.clf(PEER, "a"), set()),
    "caddy": (FORMATS["caddy"], json.dumps(CADDY), ALL_BUT_ODD),
    "haproxy": (FORMATS["haproxy"], logs.haproxy(PEER, "a"), set()),
    "envoy": (FORMATS["envoy"], logs.envoy(SENT["X-Forwarded-For"], "a"), {"X-Forwarded-For"}),
    "traefik": (FORMATS["traefik"], logs.traefik(PEER, "a"), set()),
    "traefik-json": (FORMATS["traefik-json"], json.dumps(TRAEFIK), ALL_BUT_ODD),
    "aws-alb": (FORMATS["aws-alb"], logs.alb(PEER, "a"), set()),
    "cloudfront": (
        FORMATS["cloudfront"], f"#Fields: {logs.CLOUDFRONT}\n" + "\t".join(IN_CLOUDFRONT), {"X-Forwarded-For"}
    ),
    "gcp": (FORMATS["gcp"], logs.gcp(PEER, "a"), set()),
    "azure": (FORMATS["azure"], logs.azure(PEER, "a"), set()),
    "nginx's own": (format_of_template(NGINX), f"{PEER} [{logs.IN_APACHE}] {IN_TEMPLATES}", ALL_BUT_ODD),
    "Apache's own": (format_of_template(APACHE), f"{PEER} [{logs.IN_APACHE}] {IN_TEMPLATES}", ALL_BUT_ODD),
    "Envoy's own": (format_of_template(ENVOY), f"{PEER} [2026-10-10T11:55:36.000Z] {IN_TEMPLATES}", ALL_BUT_ODD),
}  # fmt: skip
"""A line of each format with all headers that it can have, and which these are."""


def log_of(tmp_path: Path, name: str, **columns: str) -> LogSource:
    form, text, _ = KNOWN[name]
    path = tmp_path / "a.log"
    if form.reader == "parquet":
        pq.write_table(pa.table({"account": ["a"], "address": [PEER], "time": [1.0], "other": ["198.51.100.9"]}), path)
    else:
        path.write_text(text + "\n")
    return LogSource(files=[str(path)], form=form, columns=columns, account="a")


def test_every_format_is_here() -> None:
    assert {*FORMATS} <= {*KNOWN}


@pytest.mark.parametrize("header", [*SENT, *map(str.lower, SENT), *map(str.upper, SENT)])
@pytest.mark.parametrize("name", KNOWN)
def test_the_client_is_read_from_the_header_that_is_named(tmp_path: Path, name: str, header: str) -> None:
    proxies = {"trusted_hops": 1} if name == "envoy" else {"trusted_proxies": ["10.0.0.0/8"]}
    if name == "envoy" and header.lower() not in ("x-forwarded-for", "forwarded"):
        proxies = {"trusted_proxies": ["10.0.0.0/8"]}
    resolver = ClientIPResolver(**proxies, client_header=header)
    source = log_of(tmp_path, name)
    [sent] = [one for one in SENT if one.lower() == header.lower()]
    lists = Matcher()
    lists.publish("a", [ALLOWED[sent]])
    if sent in KNOWN[name][2]:
        report = replay(source, lists, resolver=resolver)
        assert (report.verdicts["allowed"], report.bad, report.lines) == (1, 0, 1)
    else:
        with pytest.raises(LogError, match=rf"{header.lower()} may name the client, and nothing says where"):
            replay(source, lists, resolver=resolver)


@pytest.mark.parametrize("name", ["parquet", "caddy"])
def test_a_column_that_is_named_has_the_header(tmp_path: Path, name: str) -> None:
    column = {"parquet": "other", "caddy": "request.headers.X-Real-Ip"}[name]
    lists = Matcher()
    lists.publish("a", ["198.51.100.9/32", "198.51.100.3/32"])
    resolver = ClientIPResolver(trusted_proxies=["10.0.0.0/8"], client_header="cf-connecting-ip")
    assert replay(log_of(tmp_path, name, forwarded=column), lists, resolver=resolver).verdicts["allowed"] == 1


def test_a_proxy_that_is_known_by_its_address_needs_the_peers(tmp_path: Path) -> None:
    """Otherwise no request has a client."""
    resolver = ClientIPResolver(trusted_proxies=["10.0.0.0/8"])
    with pytest.raises(LogError, match="has no address of the peer: say how many proxies"):
        replay(log_of(tmp_path, "envoy"), Matcher(), resolver=resolver)


@pytest.mark.parametrize("kind", [pa.uint32(), pa.int64(), pa.uint64(), pa.string()])
def test_peers_that_are_numbers_are_resolved_as_text_is(tmp_path: Path, kind: pa.DataType) -> None:
    numbers = [int(IPv4Address(PEER)), int(IPv4Address("8.8.8.8")), None]
    texts = [PEER, "8.8.8.8", None]
    table = {
        "account": ["a"] * 3,
        "address": pa.array(texts if kind == pa.string() else numbers, kind),
        "xff": ["198.51.100.9"] * 3,
        "time": [1.0] * 3,
    }
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    source = LogSource(files=[str(tmp_path / "a.parquet")], form=FORMATS["parquet"], columns={"forwarded": "xff"})
    lists = Matcher()
    lists.publish("a", ["198.51.100.9/32"])
    report = replay(source, lists, resolver=ClientIPResolver(trusted_proxies=["10.0.0.0/8"]))
    assert (report.verdicts["allowed"], report.verdicts["denied"], report.bad) == (1, 1, 1)


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("nginx's own", None),
        ("Apache's own", None),
        ("traefik-json", None),
        ("caddy", None),
        ("caddy", "request.headers.X-Forwarded-For[0]"),
        ("jsonl", "xff"),
    ],
)
def test_a_header_that_looks_like_a_list_is_what_the_client_sent(tmp_path: Path, name: str, column: str | None) -> None:
    """It is no address for the edge, so it is none here."""
    form, text, _ = KNOWN[name]
    columns = {"forwarded": column or form.roles["forwarded"]}
    forged = '["198.51.100.1"]'
    if form.reader == "json":
        record = json.loads(text)
        if name == "caddy":
            record["request"]["headers"]["X-Forwarded-For"] = [forged]
        else:
            record["xff"] = record["request_X-Forwarded-For"] = forged
        line = json.dumps(record)
    else:
        line = text.replace(SENT["X-Forwarded-For"], forged.replace('"', "\\x22"))
    path = tmp_path / "a.log"
    path.write_text(line + "\n")
    resolver = ClientIPResolver(trusted_proxies=["10.0.0.0/8"])
    assert resolver.resolve(PEER, [(b"x-forwarded-for", forged.encode())]).address is None
    lists = Matcher()
    lists.publish("a", ["198.51.100.1/32"])
    report = replay(LogSource(files=[str(path)], form=form, columns=columns, account="a"), lists, resolver=resolver)
    assert (report.verdicts["no_address"], report.bad, report.lines) == (1, 0, 1)


@pytest.mark.parametrize(
    ("sent", "verdict"),
    [(["a"], "allowed"), (["b", "a"], "no_account"), (['["a"]'], "unknown_account"), ([], "no_account")],
)
@pytest.mark.parametrize("column", ["request.headers.X-Account", "request.headers.X-Account[0]"])
def test_an_account_in_a_header_of_caddy_is_its_only_line(
    tmp_path: Path, sent: list[str], verdict: str, column: str
) -> None:
    record = json.loads(logs.caddy("8.8.8.8", "x"))
    record["request"]["headers"]["X-Account"] = sent
    path = tmp_path / "a.log"
    path.write_text(json.dumps(record) + "\n")
    source = LogSource(files=[str(path)], form=FORMATS["caddy"], columns={"account": column})
    if sent == ["b", "a"] and column.endswith("]"):
        verdict = "allowed"  # the first line was asked for
    lists = Matcher()
    for name in ("a", "b"):
        lists.publish(name, ["8.8.8.8/32"])
    report = replay(source, lists)
    assert (report.verdicts[verdict], report.bad, report.lines) == (1, 0, 1)
