"""What a denied client is told, and in which form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from cidrgate import ClientAddress, Verdict
from cidrgate.gate.denial import denial_of

if TYPE_CHECKING:
    from cidrgate.gate.verdict import VerdictReason


def verdict(address: str | None = "8.8.8.8", reason: VerdictReason = "not_listed") -> Verdict:
    return Verdict(
        result="denied",
        reason=reason,
        account="acct-1",
        list_account=None,
        matched_cidr=None,
        client=ClientAddress(address=address, source="peer"),
        request_id="req-42",
        seconds=0.0,
    )


def test_it_names_the_address_and_the_request_and_no_more() -> None:
    denial = denial_of(verdict())
    headers = dict(denial.headers)
    assert headers["content-type"] == "application/problem+json"
    assert headers["content-length"] == str(len(denial.body))
    assert headers["cache-control"] == "no-store"
    assert headers["x-request-id"] == "req-42"
    assert json.loads(denial.body) == {
        "type": "/problems/address_not_allowed",
        "title": "Address not allowed",
        "status": 403,
        "detail": "Requests from 8.8.8.8 are not allowed for this account.",
        "code": "address_not_allowed",
        "errors": [],
        "address": "8.8.8.8",
        "request_id": "req-42",
    }


@pytest.mark.parametrize(
    ("given", "detail"),
    [
        (verdict(None, "invalid_address"), "The server could not check whether this request is allowed."),
        (verdict("8.8.8.8", "error"), "The server could not check whether this request is allowed."),
        (
            verdict("8.8.8.8", "unclear_account"),
            "The request names its account more than once or in an ambiguous way.",
        ),
        (verdict("8.8.8.8", "no_account"), "The request acts for no account."),
        (verdict("8.8.8.8", "stale_lists"), "Requests from 8.8.8.8 are not allowed for this account."),
    ],
)
def test_it_says_nothing_of_what_went_wrong(given: Verdict, detail: str) -> None:
    assert json.loads(denial_of(given).body)["detail"] == detail


BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("application/problem+json, text/html", False),
        ("text/html;q=0.5, application/json", False),
        ("text/html;q=0, */*;q=0.1", False),
        ("text/html;q=nonsense", False),
        (";;;,,,=;q=", False),
        ("application/*, text/html;q=0.9", False),
        (BROWSER, True),
        ("TEXT/HTML", True),
        ("text/*", True),
        ("text/html;level=1;Q=0.9, application/json;q=0.8", True),
        ("application/json;q=0.5, application/problem+json;q=0, text/html;q=0.7", True),
    ],
)
def test_html_is_for_those_who_like_it_better(accept: str, html: bool) -> None:
    media_type = dict(denial_of(verdict(), accept).headers)["content-type"]
    assert media_type == ("text/html; charset=utf-8" if html else "application/problem+json")


def test_the_page_is_whole_and_escaped() -> None:
    page = denial_of(verdict("<b>"), "text/html").body.decode()
    assert page.startswith("<!doctype html>")
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "req-42" in page
    assert "unknown" in denial_of(verdict(None), "text/html").body.decode()
