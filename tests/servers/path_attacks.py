"""Requests that try to be checked for one account and to act for another, by paths, prefixes and methods."""

from __future__ import annotations

import json
import socket
from dataclasses import dataclass, field

__all__ = ["PATH_ATTACKS", "PathAttack", "account_acted_for", "raw_answer"]


@dataclass(frozen=True, slots=True)
class PathAttack:
    """One request of an attacker, who has a list of their own and none of the victim's addresses.

    Attributes:
        name: What is tried.
        target: The request's target, as it is sent.
        method: The request's method.
        headers: More header lines.
    """

    name: str
    target: bytes
    method: bytes = b"GET"
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())


CALLS = b"/v1/accounts/V/calls"
DOUBLED = b"/v1/accounts/own" + CALLS


def _prefixed(header: bytes, prefix: bytes, target: bytes = DOUBLED) -> PathAttack:
    return PathAttack(f"{header.decode()}: {prefix.decode()}", target, headers=((header, prefix),))


_TARGETS = {
    "as it is": CALLS,
    "two slashes first": b"/" + CALLS,
    "three slashes first": b"//" + CALLS,
    "a host before it": b"//own" + CALLS,
    "two slashes behind v1": b"/v1//accounts/V/calls",
    "two slashes before the account": b"/v1/accounts//V/calls",
    "two slashes behind the account": b"/v1/accounts/V//calls",
    "a slash at the end": CALLS + b"/",
    "two slashes at the end": CALLS + b"//",
    "a dot first": b"/." + CALLS,
    "a dot inside": b"/v1/./accounts/V/calls",
    "a dot that is encoded": b"/v1/%2e/accounts/V/calls",
    "out of another account": b"/v1/accounts/own/../V/calls",
    "out of another account, encoded": b"/v1/accounts/own/%2e%2e/V/calls",
    "out of another account, half encoded": b"/v1/accounts/own/.%2E/V/calls",
    "out of another account, encoded twice": b"/v1/accounts/own/%252e%252e/V/calls",
    "out of another account with encoded slashes": b"/v1/accounts/own%2f..%2fV/calls",
    "out of another account with encoded slashes to the end": b"/v1/accounts/own%2F..%2FV%2Fcalls",
    "out of another account with slashes encoded twice": b"/v1/accounts/own%252f..%252fV/calls",
    "out of another account with backslashes": b"/v1/accounts/own\\..\\V/calls",
    "out of another account with encoded backslashes": b"/v1/accounts/own%5c..%5cV/calls",
    "out of another account with parameters": b"/v1/accounts/own/..;/V/calls",
    "an account inside of an account": b"/v1/accounts/own%2fV/calls",
    "the account encoded": b"/v1/accounts/%56/calls",
    "the account encoded twice": b"/v1/accounts/%2556/calls",
    "the account as %u": b"/v1/accounts/%u0056/calls",
    "the account in lower case": b"/v1/accounts/v/calls",
    "the path in capitals": b"/V1/ACCOUNTS/V/calls",
    "a space behind": b"/v1/accounts/V%20/calls",
    "a space before": b"/v1/accounts/%20V/calls",
    "a plus behind": b"/v1/accounts/V+/calls",
    "NUL behind": b"/v1/accounts/V%00/calls",
    "NUL before": b"/v1/accounts/%00V/calls",
    "NUL at the end": CALLS + b"%00",
    "a newline behind": b"/v1/accounts/V%0a/calls",
    "a carriage return behind": b"/v1/accounts/V%0d%0a/calls",
    "a tab before": b"/v1/accounts/%09V/calls",
    "a no-break space behind": b"/v1/accounts/V%c2%a0/calls",
    "a zero-width space behind": b"/v1/accounts/V%e2%80%8b/calls",
    "a full-width letter": b"/v1/accounts/%ef%bc%b6/calls",
    "an overlong letter": b"/v1/accounts/%c1%96/calls",
    "overlong dots": b"/v1/accounts/own/%c0%ae%c0%ae/V/calls",
    "overlong slashes": b"/v1/accounts/own%c0%af..%c0%afV/calls",
    "no UTF-8": b"/v1/accounts/V%ff/calls",
    "no UTF-8 at all": b"/v1/accounts/%ff/calls",
    "an octet that is not ASCII": b"/v1/accounts/V\xff/calls",
    "parameters behind the account": b"/v1/accounts/V;v=1/calls",
    "parameters behind another account": b"/v1/accounts/own;/../V/calls",
    "parameters that are encoded": b"/v1/accounts/V%3bv=1/calls",
    "parameters at the end": CALLS + b";x",
    "a question mark that is encoded": b"/v1/accounts/V%3f/calls",
    "a fragment that is encoded": b"/v1/accounts/V%23/calls",
    "a fragment": CALLS + b"#/v1/accounts/own/calls",
    "an account in the query": CALLS + b"?account=own",
    "a path in the query": CALLS + b"?/../../own/calls",
    "a full URL": b"http://api.example" + CALLS,
    "a full URL of another host": b"http://own" + CALLS,
    "a full URL without a scheme": b"api.example" + CALLS,
    "a full URL as a path": b"/http://api.example" + CALLS,
    "out of the health check": b"/healthz/.." + CALLS,
    "out of the health check, encoded": b"/healthz/%2e%2e" + CALLS,
    "behind the health check": b"/healthz" + CALLS,
    "parameters behind the health check": b"/healthz;" + CALLS,
    "NUL behind the health check": b"/healthz%00" + CALLS,
    "the health check in the query": CALLS + b"?/healthz",
    "out of static": b"/static/.." + CALLS,
    "out of static, encoded": b"/static/%2e%2e" + CALLS,
    "out of static with encoded slashes": b"/static/..%2fv1%2faccounts%2fV%2fcalls",
    "out of static with backslashes": b"/static/..%5cv1%5caccounts%5cV%5ccalls",
    "static as a prefix": b"/static" + CALLS,
}

PATH_ATTACKS = [
    *(PathAttack(name, target) for name, target in _TARGETS.items()),
    *(PathAttack(f"{name}, by POST", target, b"POST") for name, target in _TARGETS.items() if "static" in name),
    *(PathAttack(f"the method {method.decode()}", CALLS, method) for method in (b"HEAD", b"POST", b"options", b"GETX")),
    *(
        _prefixed(header, prefix)
        for header in (b"SCRIPT_NAME", b"Script-Name", b"Daphne-Root-Path", b"X-Script-Name", b"X-Forwarded-Prefix")
        for prefix in (b"/v1/accounts/own", b"/v1/accounts/own/", b"/v1/accounts")
    ),
    *(
        _prefixed(header, prefix, CALLS)
        for header in (b"SCRIPT_NAME", b"Daphne-Root-Path")
        for prefix in (b"/", b"/v1", b"/v1/acc", b"/v1/accounts/V", b"/v1/accounts/V/calls", b"/accounts", b"//", b"..")
    ),
    *(
        PathAttack(f"{header.decode()}: /healthz", CALLS, headers=((header, b"/healthz"),))
        for header in (
            b"X-Original-URL",
            b"X-Rewrite-URL",
            b"X-Forwarded-Uri",
            b"PATH_INFO",
            b"RAW_URI",
            b"REQUEST_URI",
        )
    ),
    *(
        PathAttack(f"{header.decode()}: OPTIONS", CALLS, headers=((header, b"OPTIONS"),))
        for header in (b"X-HTTP-Method-Override", b"X-Method-Override", b"REQUEST_METHOD")
    ),
]


def raw_answer(
    port: int,
    source: str,
    target: bytes,
    headers: tuple[tuple[bytes, bytes], ...] = (),
    method: bytes = b"GET",
) -> tuple[int, bytes]:
    """The status and the body of an answer; 0 where the server hung up without one.

    Args:
        port: The server's.
        source: The loopback address to come from.
        target: What is asked for, sent as it is.
        headers: Header lines, sent as they are.
        method: The method.
    """
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
    length = b"Content-Length: 0\r\n" if method == b"POST" else b""
    head = (
        method + b" " + target + b" HTTP/1.1\r\nHost: api.example\r\nConnection: close\r\n" + length + lines + b"\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(source, 0)) as connection:
        try:
            connection.sendall(head)
            answer = b"".join(iter(lambda: connection.recv(65_536), b""))
        except (BrokenPipeError, ConnectionResetError):
            return 0, b""
    start, _, body = answer.partition(b"\r\n\r\n")
    return (int(start.split()[1]) if start else 0), body


def account_acted_for(body: bytes) -> str | None:
    """The account that an application has acted for, by the answer of one that says so, in whatever framing."""
    start = body.find(b"{")
    if start < 0:
        return None
    found: str | None = json.loads(body[start : body.rindex(b"}") + 1])["account"]
    return found
