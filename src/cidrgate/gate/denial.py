"""The response to a denied request: 403 as RFC 9457 problem details, or as a small HTML page for browsers.

The response contains the client address and the request id, so people know which address to add. It reveals nothing
about the list or about internal errors.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from typing import Any

from cidrgate.gate.verdict import Verdict
from cidrgate.problem_types import PROBLEM_JSON, problem_details
from cidrgate.values import check_type

__all__ = ["STATUS", "Denial", "denial_of", "prefers_html", "problem_of"]

STATUS = 403

_CODES = {"no_account": "no_account", "unclear_account": "unclear_account", "error": "check_failed"}
"""The code of the problem for the reasons that have one; what else is denied is an address that is not allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """A response with status `STATUS`. The header names are in lower case."""

    headers: tuple[tuple[str, str], ...]
    body: bytes


_DETAILS = {
    "no_account": "The request acts for no account.",
    "unclear_account": "The request names its account more than once or in an ambiguous way.",
    "check_failed": "The server could not check whether this request is allowed.",
}


def problem_of(verdict: Verdict) -> dict[str, Any]:
    """Return the problem details of a denial; `cidrgate.problem_types` describes its type."""
    address = verdict.client.address
    code = _CODES.get(verdict.reason, "check_failed" if address is None else "address_not_allowed")
    detail = _DETAILS.get(code, f"Requests from {address} are not allowed for this account.")
    return problem_details(code, detail, address=address, request_id=verdict.request_id)


def denial_of(verdict: Verdict, accept: str = "") -> Denial:
    """Return the response to a denied request.

    Args:
        verdict: The verdict of the gate.
        accept: The request's `Accept` header. The response is HTML if the client prefers it to JSON.

    Raises:
        TypeError: If an argument is of another type.

    Example:
        >>> from cidrgate import Gate, Matcher
        >>> matcher = Matcher()
        >>> matcher.publish("acct-1", ["203.0.113.0/24"])
        >>> denial = denial_of(Gate(matcher, unlisted="allow", log="none").decide("acct-1", "8.8.8.8"))
        >>> json.loads(denial.body)["detail"]
        'Requests from 8.8.8.8 are not allowed for this account.'
    """
    check_type(verdict, Verdict, "verdict")
    check_type(accept, str, "accept")
    problem = problem_of(verdict)
    if prefers_html(accept):
        media_type = "text/html; charset=utf-8"
        body = _page(problem).encode()
    else:
        media_type = PROBLEM_JSON
        body = json.dumps(problem).encode()
    headers = (
        ("content-type", media_type),
        ("content-length", str(len(body))),
        ("cache-control", "no-store"),
        ("vary", "accept"),
        ("x-content-type-options", "nosniff"),
        ("x-request-id", verdict.request_id),
    )
    return Denial(headers=headers, body=body)


def _page(problem: dict[str, Any]) -> str:
    """Return a page that loads no other files."""
    rows = [("Your address", problem["address"] or "unknown"), ("Request", problem["request_id"])]
    listed = "".join(f"<dt>{name}</dt><dd>{escape(str(value))}</dd>" for name, value in rows)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{STATUS} {problem["title"]}</title>'
        f"<h1>{problem['title']}</h1><p>{escape(str(problem['detail']))}</p><dl>{listed}</dl></html>\n"
    )


def prefers_html(accept: str) -> bool:
    """Return whether `Accept` gives HTML a higher weight than JSON (RFC 9110 section 12.5.1)."""
    weights: dict[str, float] = {}
    for element in accept.lower().split(",", 50):
        media_range, *parameters = (part.strip() for part in element.split(";"))
        weight = 1.0
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.strip() == "q":
                try:
                    weight = float(value)
                except ValueError:
                    weight = 0.0
        weights[media_range] = weight
    anything = weights.get("*/*", 0.0)
    html = weights.get("text/html", weights.get("text/*", anything))
    of_applications = weights.get("application/*", anything)
    json_weight = max(weights.get(f"application/{kind}", of_applications) for kind in ("problem+json", "json"))
    return html > json_weight
