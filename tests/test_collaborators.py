"""Objects of another class are refused when they are handed over, not at the first request."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from flask import Flask
from prometheus_client import CollectorRegistry

from cidrgate import ClientIPResolver, FromHeader, Gate, Matcher, Policy, RuleManager
from cidrgate.authorize import AuthorizeApp, ClientHeaders
from cidrgate.foresight import PastTraffic, evaluate, recommend
from cidrgate.gate import denial_of, parse_proxy_header
from cidrgate.gate.metrics import GateMetrics
from cidrgate.lists import normalized
from cidrgate.middleware import aiohttp, asgi, fastapi, flask, wsgi
from cidrgate.replay import FORMATS, LogSource, format_of_template, observations, replay
from cidrgate.service import Settings, create_app
from cidrgate.stores import open_store
from cidrgate.traffic import Traffic

if TYPE_CHECKING:
    from pathlib import Path

PASSWORD = "f7uZ2hX9"
OTHERS: tuple[object, ...] = (
    f"postgresql://cidrgate:{PASSWORD}@database/rules",
    7,
    object(),
    {"max_entries": 3},
    print,
    [],
)
"""Objects that nothing accepts; the first one is what people hand over by mistake."""


Made = tuple[Callable[[Any], object], object]

_SOURCE = FromHeader("x-account")


def anything(*_: object) -> Any:
    """Be an application, a function or a hook, whatever is needed."""


def gate(lists: Any = None, **settings: Any) -> Gate:
    return Gate(Matcher() if lists is None else lists, unlisted="deny", **settings)


def log(**more: Any) -> LogSource:
    settings: dict[str, Any] = {"files": [os.devnull], "form": FORMATS["csv"]} | more
    return LogSource(**settings)


MADE: dict[str, Callable[[RuleManager], Made]] = {
    "store": lambda _: (RuleManager, open_store("memory://")),
    "policy": lambda _: (lambda it: RuleManager.open("memory://", policy=it).close(), Policy()),
    "traffic": lambda _: (lambda it: RuleManager.open("memory://", traffic=it).close(), Traffic()),
    "lists": lambda manager: (gate, manager),
    "hooks": lambda _: (lambda it: gate(hooks=it), [anything]),
    "resolver": lambda _: (lambda it: gate(resolver=it), ClientIPResolver()),
    "gate of ASGI": lambda _: (lambda it: asgi.AllowlistMiddleware(anything, it, _SOURCE), gate()),
    "gate of WSGI": lambda _: (lambda it: wsgi.AllowlistMiddleware(anything, it, _SOURCE), gate()),
    "gate of aiohttp": lambda _: (lambda it: aiohttp.allowlist(it, _SOURCE), gate()),
    "gate of FastAPI": lambda _: (lambda it: fastapi.allowlist(it, _SOURCE), gate()),
    "gate of Flask": lambda _: (lambda it: flask.Allowlist(it, _SOURCE), gate()),
    "gate of authorize": lambda _: (AuthorizeApp, gate()),
    "client_headers": lambda _: (lambda it: AuthorizeApp(gate(), client_headers=it), ClientHeaders()),
    "manager": lambda manager: (create_app, manager),
    "settings": lambda manager: (lambda it: create_app(manager, it), Settings()),
    "resolver of the service": lambda manager: (lambda it: create_app(manager, resolver=it), ClientIPResolver()),
    "app of ASGI": lambda _: (lambda it: asgi.AllowlistMiddleware(it, gate(), _SOURCE), anything),
    "app of FastAPI": lambda _: (fastapi.install, FastAPI()),
    "app of Flask": lambda _: (flask.Allowlist(gate(), _SOURCE).init_app, Flask("test")),
    "app of WSGI": lambda _: (lambda it: wsgi.AllowlistMiddleware(it, gate(), _SOURCE), anything),
    "elsewhere": lambda _: (lambda it: AuthorizeApp(gate(), elsewhere=it), anything),
    "registry": lambda _: (GateMetrics, CollectorRegistry()),
    "verdict": lambda _: (denial_of, gate().decide("acct-1", "8.8.8.8")),
    "policy of a text": lambda _: (lambda it: normalized("8.8.8.8", it), Policy()),
    "policy of a recommendation": lambda _: (lambda it: recommend(["8.8.8.8"], it), Policy()),
    "at": lambda _: (lambda it: evaluate([], at=it), datetime.now(UTC)),
    "form": lambda _: (lambda it: log(form=it), FORMATS["jsonl"]),
    "columns": lambda _: (lambda it: log(columns=it), {"path": "path"}),
    "source": lambda _: (lambda it: replay(it, Matcher()), log()),
    "matcher": lambda _: (lambda it: replay(log(), it), Matcher()),
    "before": lambda _: (lambda it: replay(log(), Matcher(), before=it), Matcher()),
    "resolver of a replay": lambda _: (lambda it: replay(log(), Matcher(), resolver=it), ClientIPResolver()),
    "matcher of observations": lambda _: (lambda it: list(observations(log(), it)), Matcher()),
}
"""What is made from an object, and an object that it accepts, by the name of the argument."""


@pytest.fixture
def manager() -> Iterator[RuleManager]:
    with RuleManager.open("memory://") as opened:
        yield opened


@pytest.mark.parametrize("name", MADE)
def test_an_object_of_another_class_is_refused(manager: RuleManager, name: str) -> None:
    make, right = MADE[name](manager)
    make(right)
    for other in OTHERS:
        if (name == "hooks" and other == []) or (right is anything and callable(other)):
            continue
        with pytest.raises(TypeError) as refused:
            make(other)
        assert name.split()[0] in str(refused.value) or name == "hooks", (other, refused.value)
        assert PASSWORD not in str(refused.value)


ARGUMENTS: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "files, one text": (lambda: log(files="access.log"), TypeError, "files is an iterable of names, not one text"),
    "excluded, one network": (
        lambda: recommend(["8.8.8.8"], Policy(), excluded=IPv4Network("8.8.8.0/24")),
        TypeError,
        "excluded is an iterable of networks, not one network",
    ),
    "files, a number": (lambda: log(files=[7]), TypeError, "not int"),
    "columns, a number": (lambda: log(columns={"path": 7}), TypeError, "each value of columns"),
    "account of a log": (lambda: log(account=7), TypeError, "account must be"),
    "account, another source": (lambda: log(account=FromHeader("x-account")), TypeError, "account must be"),
    "template": (lambda: format_of_template(7), TypeError, "template must be"),  # type: ignore[arg-type]
    "credentials": (lambda: ClientHeaders("authorization"), TypeError, "credentials is an iterable of names"),
    "expected": (lambda: ClientHeaders(expected="x-account"), TypeError, "expected is an iterable of names"),
    "account_parameter": (lambda: AuthorizeApp(gate(), account_parameter=b"a"), TypeError, "account_parameter must"),  # type: ignore[arg-type]
    "allow": (lambda: Settings(allow="8.8.8.0/24"), TypeError, "allow is an iterable of networks"),  # type: ignore[arg-type]
    "allow_account": (lambda: Settings(allow_account=7), TypeError, "allow_account must be"),  # type: ignore[arg-type]
    "public_url": (lambda: Settings(public_url=b"https://a"), TypeError, "public_url must be"),  # type: ignore[arg-type]
    "log": (lambda: Settings(log="some"), ValueError, "log must be 'denials'"),  # type: ignore[arg-type]
    "pool_size": (lambda: open_store("memory://", pool_size="3"), TypeError, "pool_size must be"),  # type: ignore[arg-type]
    "pool_size of PostgreSQL": (
        lambda: open_store("postgresql://127.0.0.1:1/x", pool_size="3"),  # type: ignore[arg-type]
        TypeError,
        "pool_size must be",
    ),
    "memory, a text": (lambda: replay(log(), Matcher(), memory="1G"), TypeError, "memory"),  # type: ignore[arg-type]
    "memory, too little": (lambda: replay(log(), Matcher(), memory=512), ValueError, "memory must be"),
    "threads": (lambda: replay(log(), Matcher(), threads=0), ValueError, "threads must be"),
    "max_bad": (lambda: replay(log(), Matcher(), max_bad=-1), ValueError, "max_bad must be"),
    "rows": (lambda: replay(log(), Matcher(), rows=7), TypeError, "not int"),  # type: ignore[arg-type]
    "accounts": (lambda: list(observations(log(), Matcher(), accounts="acct-1")), TypeError, "accounts is an iterable"),
    "at without a zone": (lambda: evaluate([], at=datetime(2026, 1, 2)), ValueError, "at needs a time zone"),
    "since without a zone": (
        lambda: PastTraffic([], since=datetime(2026, 1, 2)),
        ValueError,
        "since needs a time zone",
    ),
    "since after the last day": (
        lambda: PastTraffic([], since=datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))),
        ValueError,
        "is out of range in UTC",
    ),
    "at before the first day": (
        lambda: evaluate([], at=datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))),
        ValueError,
        "at 0001-01-01T00:00:00\\+01:00 is out of range in UTC",
    ),
    "days": (lambda: evaluate([], at=datetime.now(UTC), days=0), ValueError, "days must be"),
    "most": (lambda: evaluate([], at=datetime.now(UTC), most=-1), ValueError, "most must be"),
    "collapse": (lambda: normalized("8.8.8.8", collapse="no"), TypeError, "collapse must be"),  # type: ignore[arg-type]
    "by_account": (lambda: GateMetrics(by_account="no"), TypeError, "by_account must be"),  # type: ignore[arg-type]
    "data": (lambda: parse_proxy_header("PROXY"), TypeError, "data must be"),  # type: ignore[arg-type]
    "longest": (lambda: parse_proxy_header(b"PROXY", longest=15), ValueError, "longest must be"),
}
"""A wrong argument that is no object of this library, the error, and a part of its message."""


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_argument_that_cannot_be_meant_is_refused(name: str) -> None:
    make, error, message = ARGUMENTS[name]
    with pytest.raises(error, match=message):
        make()


def test_the_names_of_logs_are_texts_bytes_or_paths(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text("account,address,time\nacct-1,8.8.8.8,2026-01-02T00:00:00Z\n")
    source = log(files=(name for name in (path, str(path), os.fsencode(path))))
    assert source.files == (str(path),) * 3
    assert replay(source, Matcher()).requests == 3


def test_rows_go_to_a_file_named_by_a_text(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    replay(log(), Matcher(), rows=str(path))
    assert path.stat().st_size > 0


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_the_first_bytes_of_a_connection_may_be_in_any_buffer(kind: Callable[[bytes], Any]) -> None:
    header = parse_proxy_header(kind(b"PROXY TCP4 203.0.113.9 192.0.2.1 56324 443\r\n"))
    assert header is not None
    assert header.source == "203.0.113.9"
    assert parse_proxy_header(kind(b"PRO")) is None
