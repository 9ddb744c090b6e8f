"""Making pages: the templates, what each of them knows, and how numbers and times are written for people."""

from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from cidrgate.rules.networks import addresses_covered, prefix_length, subnet_mask
from cidrgate.service.console.formatting import CONFIRMATIONS, PROBLEM_TITLES, change_sentence
from cidrgate.service.console.sessions import Person

__all__ = ["go", "in_place", "link", "page", "root_of"]

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
    """A page, or a part of one for a page that asks for it.

    Args:
        request: What it answers.
        template: Its file.
        person: Who looks at it; None for somebody who is not signed in.
        status: The HTTP status.
        headers: Of the answer.
        known: What the template needs besides.
    """
    text = _templates.get_template(template).render(
        root=root_of(request),
        link=lambda path, **query: link(request, path, **query),
        person=person,
        in_place=in_place(request),
        now=datetime.now(UTC),
        **known,
    )
    return HTMLResponse(text, status, headers)


def in_place(request: Request) -> bool:
    """Whether a script asks for a part of a page, instead of the browser for the whole of it."""
    return request.headers.get("hx-request") == "true"


def root_of(request: Request) -> str:
    """The path under which the browser sees the console."""
    return str(request.scope.get("root_path", ""))


def link(request: Request, path: str, **query: str | int | None) -> str:
    """The path, for the browser, of a page of the console; what is None is left out."""
    given = {key: value for key, value in query.items() if value is not None}
    return f"{root_of(request)}/{path}{'?' if given else ''}{urlencode(given)}"


def go(request: Request, path: str, **query: str | int | None) -> Response:
    """An answer to a form that worked: on to a page."""
    target = link(request, path, **query)
    if in_place(request):
        return Response(status_code=204, headers={"HX-Redirect": target})
    return RedirectResponse(target, 303)


def _utc(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _machine(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds")


def _relative(time: datetime, now: datetime) -> str:
    """How far away a time is, about.

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


def _sentence_case(text: str) -> str:
    """A text that begins with a capital letter, unless it begins with a network.

    Example:
        >>> _sentence_case("add the length"), _sentence_case("fe80::/10 is Link-Local Unicast")
        ('Add the length', 'fe80::/10 is Link-Local Unicast')
    """
    return text[:1].upper() + text[1:] if text.partition(" ")[0].isalpha() else text


def _host(address: str) -> str:
    """The network of one address."""
    return str(ip_network(address))


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
        "host": _host,
        "machine": _machine,
        "mask": subnet_mask,
        "prefix": prefix_length,
        "capital": _sentence_case,
        "relative": _relative,
        "sentence": change_sentence,
        "utc": _utc,
    }
    made.globals |= {"confirmations": CONFIRMATIONS, "problem_titles": PROBLEM_TITLES}
    return made


_templates = _make_environment()
