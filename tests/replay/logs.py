"""Logs of every format as their programs write them, with what each line says."""

from __future__ import annotations

import json
from dataclasses import dataclass

from cidrgate.gate import FromPath

BY_PATH = FromPath(r"/v1/accounts/(?P<account>[^/]+)")

IN_APACHE = "10/Oct/2026:13:55:36 +0200"
AT = "2026-10-10T11:55:36+00:00"
"""The same moment."""


@dataclass(frozen=True)
class Sample:
    """A log of two requests.

    Attributes:
        form: The name of the format.
        lines: Requests of acct-1 from 8.8.8.8 and of acct-2 from 2001:4860::8, and perhaps bad lines.
        bad: How many of the lines are bad.
        columns: What `--columns` says.
        at: The time of each request.
        by_path: Whether the account is in the path.
    """

    form: str
    lines: tuple[str, ...]
    columns: tuple[tuple[str, str], ...] = ()
    at: str = AT
    by_path: bool = True
    bad: int = 0


def clf(address: str, account: str, rest: str = ' "-" "curl/8.5.0"') -> str:
    return f'{address} - - [{IN_APACHE}] "GET /v1/accounts/{account}/calls?x=1 HTTP/1.1" 200 12{rest}'


def haproxy(address: str, account: str) -> str:
    return (
        f"Oct 10 11:55:36 localhost haproxy[14389]: {address}:33317 [10/Oct/2026:11:55:36.000] http-in static/srv1 "
        f'10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 {{{account}|x}} {{}} "GET /v1/accounts/{account} HTTP/1.1"'
    )


def alb(client: str, account: str) -> str:
    return (
        f"https 2026-10-10T11:55:36.000000Z app/my-lb/50dc6c495c0c9188 {client}:2817 10.0.0.1:80 0.086 0.048 0.037 200 "
        f'200 0 57 "GET https://www.example.com:443/v1/accounts/{account} HTTP/1.1" "curl/7.46.0" '
        "ECDHE-RSA-AES128-GCM-SHA256 TLSv1.2 arn:aws:elasticloadbalancing:us-east-2:123456789012:targetgroup/t/73e "
        '"Root=1-58337281-1d84f3d73c47ec4e58577259" "www.example.com" "arn:aws:acm:us-east-2:123:certificate/1"'
        ' 1 2026-10-10T11:55:35.000000Z "authenticate,forward" "-" "-" "10.0.0.1:80" "200" "-" "-" TID_1234abcd'
    )


def envoy(address: str, account: str) -> str:
    return (
        f'[2026-10-10T11:55:36.000Z] "GET /v1/accounts/{account} HTTP/1.1" 200 - 0 154 7 5 "{address}" "curl/8.5.0" '
        '"35c236fc-82e4-4f0c-a9e1-4fd2e5f9a4a1" "localhost:8080" "127.0.0.1:9000"'
    )


def cloudfront(address: str, account: str) -> str:
    values = {"date": "2026-10-10", "time": "11:55:36", "c-ip": address, "cs-uri-stem": f"/v1/accounts/{account}"}
    return "\t".join(values.get(name, "-") for name in CLOUDFRONT.split())


CLOUDFRONT = (
    "date time x-edge-location sc-bytes c-ip cs-method cs(Host) cs-uri-stem sc-status cs(Referer) cs(User-Agent) "
    "cs-uri-query cs(Cookie) x-edge-result-type x-edge-request-id x-host-header cs-protocol cs-bytes time-taken "
    "x-forwarded-for ssl-protocol ssl-cipher x-edge-response-result-type cs-protocol-version fle-status "
    "fle-encrypted-fields c-port time-to-first-byte x-edge-detailed-result-type sc-content-type sc-content-len "
    "sc-range-start sc-range-end"
)


def caddy(address: str, account: str) -> str:
    return json.dumps(
        {
            "level": "info",
            "ts": 1791633336.0,
            "logger": "http.log.access.log0",
            "msg": "handled request",
            "request": {
                "remote_ip": address,
                "remote_port": "41342",
                "client_ip": address,
                "proto": "HTTP/1.1",
                "method": "GET",
                "host": "localhost",
                "uri": f"/v1/accounts/{account}?a=b",
                "headers": {"User-Agent": ["curl/8.5.0"], "X-Account": [account]},
            },
            "duration": 0.000929675,
            "size": 10900,
            "status": 200,
        }
    )


def gcp(address: str, account: str) -> str:
    return json.dumps(
        {
            "httpRequest": {
                "requestMethod": "GET",
                "requestUrl": f"https://api.example.com/v1/accounts/{account}?x=1",
                "status": 200,
                "remoteIp": address,
                "latency": "0.05s",
            },
            "insertId": "1",
            "logName": "projects/p/logs/requests",
            "timestamp": "2026-10-10T11:55:36.000000Z",
        }
    )


def azure(address: str, account: str) -> str:
    return json.dumps(
        {
            "timeStamp": "2026-10-10T11:55:36+00:00",
            "operationName": "ApplicationGatewayAccess",
            "properties": {
                "instanceId": "ApplicationGatewayRole_IN_0",
                "clientIP": address,
                "httpMethod": "GET",
                "requestUri": f"/v1/accounts/{account}",
                "httpStatus": 200,
            },
        }
    )


def traefik(address: str, account: str) -> str:
    return clf(address, account, ' "-" "-" 7 "api@file" "http://127.0.0.1:9000" 3ms')


def traefik_json(address: str, account: str) -> str:
    return json.dumps(
        {
            "ClientAddr": f"{address}:53184",
            "ClientHost": address,
            "DownstreamStatus": 200,
            "RequestMethod": "GET",
            "RequestPath": f"/v1/accounts/{account}?x=1",
            "StartUTC": "2026-10-10T11:55:36.000000Z",
            "level": "info",
            "time": "2026-10-10T11:55:36Z",
        }
    )


def _two(line: object) -> tuple[str, str]:
    assert callable(line)
    return line("8.8.8.8", "acct-1"), line("2001:4860::8", "acct-2")


NOT_PARQUET = (
    Sample(
        "csv",
        (
            "customer_id,ip,at",
            f"acct-1,8.8.8.8,{AT}",
            f"acct-2,2001:4860::8,{AT}",
            f"acct-2,,{AT}",
            "acct-2,2001:4860::8,yesterday",
        ),
        (("account", "customer_id"), ("address", "IP"), ("time", "at")),
        by_path=False,
        bad=2,
    ),
    Sample(
        "jsonl",
        (
            f'{{"account": "acct-1", "client": {{"ip": "8.8.8.8"}}, "time": "{AT}"}}',
            '{"account": "acct-2", "client": {"ip": "2001:4860::8"}, "time": 1791633336}',
            '{"account": "acct-2", "client": {"ip": "2001:4860::8"}, "tim',
            '["acct-2"]',
            "",
        ),
        (("address", "client.ip"),),
        by_path=False,
        bad=2,
    ),
    Sample("combined", (*_two(clf), "8.8.8.8 - - nothing else", clf("8.8.8.8.8", "acct-1"), "\x00"), bad=3),
    Sample("combined", (clf("8.8.8.8", "acct-1", ""), clf("2001:4860::8", "acct-2", ' "-" "a \\" b"'))),
    Sample("haproxy", (*_two(haproxy), "Oct 10 11:55:36 localhost haproxy[1]: Proxy api started."), bad=1),
    Sample("haproxy", _two(haproxy), (("account", "capture_1"),), by_path=False),
    Sample("aws-alb", _two(alb)),
    Sample("cloudfront", ("#Version: 1.0", f"#Fields: {CLOUDFRONT}", *_two(cloudfront), "2026-10-10\tx"), bad=1),
    Sample("caddy", _two(caddy)),
    Sample("caddy", _two(caddy), (("account", "request.headers.X-Account"),), by_path=False),
    Sample("gcp", _two(gcp)),
    Sample("azure", _two(azure)),
    Sample("traefik", _two(traefik)),
    Sample("traefik-json", _two(traefik_json)),
    Sample("envoy", _two(envoy)),
)
"""A log of each format but Parquet, which is no text."""
