"""Rendering pages: the templates, their common values, and formats of numbers and times for people."""

from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from cidrgate.foresight.sentences import network_text, number_text
from cidrgate.rules.networks import addresses_covered, prefix_length, subnet_mask
from cidrgate.service.console.conflicts import began_text
from cidrgate.service.console.details import (
    COLUMN_DETAILS,
    FORM_DETAILS,
    detail_text,
    detail_word,
    flag_words,
    input_type,
)
from cidrgate.service.console.formatting import (
    ACCOUNT_CONFIRMATIONS,
    CONFIRMATIONS,
    PROBLEM_TITLES,
    can_undo,
    change_sentence,
    isolated,
    utc_text,
)
from cidrgate.service.console.sessions import Person
from cidrgate.service.http.limits import LONGEST_NAME
from cidrgate.service.http.pagination import storable
from cidrgate.service.http.prefix import prefix_of
from cidrgate.service.http.strict_requests import FORM

__all__ = ["go", "go_to_list", "in_place", "link", "page", "root_of"]

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def page(
    request: Request,
    template: str,
    *,
    person: Person | None = None,
    status: int = 200,
    headers: dict[str, str] | None = None,
    **known: Any,
) -> Response:
    """Return a page, or a part of it if the request asks for a part.

    Args:
        request: The request.
        template: The template's file.
        person: The person who is signed in, or None.
        status: The HTTP status.
        headers: Headers of the response.
        known: Further values for the template.
    """
    text = _templates.get_template(template).render(
        root=root_of(request),
        link=lambda path, **query: link(request, path, **query),
        person=person,
        in_place=in_place(request),
        sought=_sought(request),
        now=datetime.now(UTC),
        **known,
    )
    return HTMLResponse(text, status, headers)


def in_place(request: Request) -> bool:
    """Return whether a script asks for a part of a page, and not the browser for a whole page."""
    return request.headers.get("hx-request") == "true"


def root_of(request: Request) -> str:
    """Return the path of the console as the browser sees it."""
    return prefix_of(request.scope)


def link(request: Request, path: str, **query: str | int | None) -> str:
    """Return the path of a page of the console as the browser sees it; parameters that are None are left out."""
    given = {key: value for key, value in query.items() if value is not None}
    return f"{root_of(request)}/{path}{'?' if given else ''}{urlencode(given)}"


def go(request: Request, path: str, **query: str | int | None) -> Response:
    """Redirect to a page after a form has succeeded."""
    target = link(request, path, **query)
    if in_place(request):
        return Response(status_code=204, headers={"HX-Redirect": target})
    return RedirectResponse(target, 303)


def go_to_list(request: Request, account: str, done: int | None) -> Response:
    """Redirect to the list of an account after it was changed, with the search from which the person came.

    Args:
        request: The request with the form.
        account: The account.
        done: The sequence of the change; None if nothing changed.
    """
    return go(request, "list", account=account, q=_sought(request) or None, done=done)


def _sought(request: Request) -> str:
    """Return the search of a list: pages of the list, and the forms that they open, carry it along as `q`."""
    sent = request.query_params.get("q") or request.scope.get(FORM, {}).get("q") or ""
    usable = isinstance(sent, str) and len(sent) <= LONGEST_NAME and storable(sent)
    return sent.strip() if usable else ""


def _machine(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds")


def _relative(time: datetime, now: datetime) -> str:
    """Describe how far away a time is, approximately.

    Example:
        >>> from datetime import timedelta
        >>> now = datetime.now(UTC)
        >>> _relative(now - timedelta(minutes=80), now), _relative(now + timedelta(days=2, hours=23), now)
        ('1 hour ago', 'in 3 days')
    """
    seconds = int((time - now).total_seconds())
    distance = abs(seconds)
    if distance < _MINUTE:
        return "just now" if seconds <= 0 else "in less than a minute"
    for unit, length in (("day", _DAY), ("hour", _HOUR), ("minute", _MINUTE)):
        if distance >= length:
            count = round(distance / length)
            words = f"{count:,} {unit}{'' if count == 1 else 's'}"
            return f"{words} ago" if seconds < 0 else f"in {words}"
    raise AssertionError("unreachable")


def _host(address: str) -> str:
    """Return the network that contains one address only."""
    return str(ip_network(address))


def _capital(text: str) -> str:
    """Return a text that begins with a capital letter."""
    return text[:1].upper() + text[1:]


def _make_environment() -> Environment:
    made = Environment(
        loader=PackageLoader("cidrgate.service.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "addresses": addresses_covered,
        "began": began_text,
        "as_sentence": lambda text: f"{_capital(text)}.",
        "capital": _capital,
        "host": _host,
        "isolated": isolated,
        "large": number_text,
        "machine": _machine,
        "mask": subnet_mask,
        "prefix": prefix_length,
        "can_undo": can_undo,
        "flags": flag_words,
        "default_text": lambda detail: detail_text(detail, detail.default),
        "input_type": input_type,
        "observed": network_text,
        "relative": _relative,
        "sentence": change_sentence,
        "utc": utc_text,
        "word": detail_word,
    }
    made.globals |= {
        "confirmations": CONFIRMATIONS,
        "account_confirmations": ACCOUNT_CONFIRMATIONS,
        "column_details": COLUMN_DETAILS,
        "form_details": FORM_DETAILS,
        "problem_titles": PROBLEM_TITLES,
    }
    return made


_templates = _make_environment()
