"""Lines that may be trailers, and what they do to the address of a client."""

from __future__ import annotations

import pytest

from cidrgate import ClientIPResolver
from cidrgate.gate.rewritten_peers import CLIENT_HEADERS
from cidrgate.gate.trailers import may_be_trailer

PROXY, CLIENT, FORGED = "10.0.0.1", b"198.51.100.7", b"203.0.113.9"
CHUNKED = (b"transfer-encoding", b"chunked")

ROWS: dict[str, tuple[list[str], bool]] = {
    "one line": (["list"], False),
    "one line before the coding": (["list", "coding"], False),
    "one line after the coding": (["coding", "list"], False),
    "two lines without a coding": (["list", "list"], False),
    "two lines before the coding": (["list", "list", "coding"], False),
    "a line before, a line after": (["list", "coding", "list"], True),
    "two lines after": (["coding", "list", "list"], True),
    "a trailer that looks like the coding": (["coding", "list", "list", "coding"], True),
    "a coding in capitals": (["CODING", "list", "LIST"], True),
    "another name twice": (["coding", "list", "other", "other"], False),
}
LINES = {"list": b"x-forwarded-for", "LIST": b"X-Forwarded-For", "other": b"x-other"}


def lines_of(kinds: list[str]) -> list[tuple[bytes, bytes]]:
    """The lines of a row: the proxy's line is the first, a forged one is the last."""
    addresses = iter([CLIENT, FORGED, FORGED])
    return [
        (CHUNKED[0].upper() if kind.isupper() else CHUNKED[0], CHUNKED[1])
        if kind.lower() == "coding"
        else (LINES[kind], next(addresses))
        for kind in kinds
    ]


@pytest.mark.parametrize(("kinds", "expected"), ROWS.values(), ids=ROWS)
def test_which_lines_may_be_trailers(kinds: list[str], expected: bool) -> None:
    assert may_be_trailer(b"x-forwarded-for", lines_of(kinds)) is expected


@pytest.mark.parametrize(("kinds", "unclear"), ROWS.values(), ids=ROWS)
@pytest.mark.parametrize("settings", [{"trusted_proxies": [f"{PROXY}/32"]}, {"trusted_hops": 1}])
def test_a_list_whose_end_may_be_a_trailer_names_no_client(
    settings: dict[str, object], kinds: list[str], unclear: bool
) -> None:
    resolver = ClientIPResolver(**settings)  # type: ignore[arg-type]
    client = resolver.resolve(PROXY, lines_of(kinds), port=4711)
    assert (client.problem == "possible_trailer") is unclear
    assert (client.address is None) is unclear
    assert client.source == "x-forwarded-for"


@pytest.mark.parametrize("header", ["forwarded", "x-real-ip", "cf-connecting-ip"])
def test_every_header_with_the_client_can_have_a_trailer(header: str) -> None:
    resolver = ClientIPResolver(trusted_proxies=[f"{PROXY}/32"], client_header=header)
    line = (header.encode(), b"for=198.51.100.7" if header == "forwarded" else CLIENT)
    assert resolver.resolve(PROXY, [CHUNKED, line]).address == CLIENT.decode()
    assert resolver.resolve(PROXY, [CHUNKED, line, line]).problem == "possible_trailer"
    assert resolver.address(PROXY, [CHUNKED, line, line]) is None


@pytest.mark.parametrize("header", sorted(CLIENT_HEADERS))
def test_the_server_may_have_read_a_trailer(header: bytes) -> None:
    resolver = ClientIPResolver(resolved_by_server=True)
    line = (header.title(), CLIENT)
    for lines, clear in (
        ([line, line], True),
        ([CHUNKED, line], True),
        ([line, CHUNKED, line], False),
        ([CHUNKED, line, (b"accept", b"*/*"), line], False),
    ):
        client = resolver.resolve(PROXY, lines, port=0)
        assert (client.source, client.problem) == ("server", None if clear else "possible_trailer")
        assert resolver.address(PROXY, lines) == (PROXY if clear else None)
