"""The page that recommends a list for the recorded traffic of an account, from which people take entries over."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Query, Request, Response
from markupsafe import Markup

from cidrgate.errors import (
    CidrgateError,
    InvalidAddressError,
    NoTrafficError,
    RecommendationError,
    SubaccountError,
)
from cidrgate.foresight.curve_plots import curve_svg
from cidrgate.foresight.evaluation import MOST_DAYS
from cidrgate.foresight.sentences import observed_text, since_text
from cidrgate.service.console.adding import addition_page
from cidrgate.service.console.fields import ListQuery, ShortText
from cidrgate.service.console.lists import AccountQuery, view_of
from cidrgate.service.console.messages import FormError, field_of, message_of
from cidrgate.service.console.pages import page
from cidrgate.service.console.sessions import SignedIn, SignedInForm
from cidrgate.service.http.integers import PLAIN
from cidrgate.service.http.limits import LONGEST_ADDRESS
from cidrgate.service.http.strict_requests import ConsoleRoute
from cidrgate.service.settings import service_of

__all__ = ["router"]

router = APIRouter(prefix="/list/recommendation", route_class=ConsoleRoute)

_MOST_SHOWN = 20
"""How many addresses that are left out the page names."""

_MOST_ENTRIES = 1_000
_DAYS = (7, 30, 90, 365)
"""The choices of the form."""

_Taken = Annotated[list[Annotated[str, Form(max_length=LONGEST_ADDRESS)]], Form(max_length=_MOST_ENTRIES)]


@router.get("")
def recommendation_page(
    request: Request,
    person: SignedIn,
    account: AccountQuery,
    days: Annotated[int, Query(ge=1, le=MOST_DAYS), PLAIN] = 30,
    most: Annotated[str, Query(max_length=10)] = "",
    exclude: ListQuery = "",
) -> Response:
    """Show the best list, the curve, and which entries of the account are unused or too wide."""
    view = view_of(request, person, account)
    known: dict[str, Any] = {"found": None, "curve": None, "refused": None, "wrong": None, "missing": None}
    try:
        found = service_of(request).manager.recommend(
            account, days, max_entries=_limit(most, view.limit), excluded=exclude.replace(",", " ").split()
        )
    except NoTrafficError as error:
        known["missing"] = message_of(error)
    except (FormError, InvalidAddressError, RecommendationError, SubaccountError) as error:
        known["refused"], known["wrong"] = message_of(error), _field_of(error)
    else:
        best = found.recommendation
        known["found"] = found
        if len(best.curve) > 1:
            title = f"Extra addresses of the best list for {observed_text(best)}"
            known["curve"] = Markup(curve_svg(best.curve, len(best.networks), title))  # noqa: S704 - it escapes texts
    return page(
        request,
        "recommendation.html",
        person=person,
        view=view,
        days=days,
        choices=sorted({*_DAYS, days}),
        most=most,
        exclude=exclude,
        shown=_MOST_SHOWN,
        observed_text=observed_text,
        since_text=since_text,
        # A network whose entry has expired can be taken: the form adds it anew.
        listed={entry.cidr: entry for entry in view.entries if not entry.is_expired()},
        tab="recommendation",
        **known,
    )


@router.post("/take")
def take(request: Request, person: SignedInForm, account: ShortText, cidr: _Taken = []) -> Response:  # noqa: B006
    """Show the form for new entries with the networks that a person chose: more than a URL has room for."""
    return addition_page(request, person, account, ", ".join(cidr))


def _limit(typed: str, limit: int) -> int:
    """Return the most entries that a person asks for; as many as possible if nothing is typed.

    Args:
        typed: What is typed.
        limit: The limit of the list.

    Raises:
        FormError: If it is not a number of entries that the list may have.

    Example:
        >>> _limit("", 50), _limit(" 7 ", 50), _limit("", 20_000)
        (50, 7, 1000)
    """
    most, written = min(limit, _MOST_ENTRIES), typed.strip()
    if not written:
        return most
    number = int(written) if written.isascii() and written.isdecimal() else 0
    if not 1 <= number <= most:
        raise FormError(f"Write how many entries are allowed: a whole number from 1 to {most:,}.", field="most")
    return number


def _field_of(error: CidrgateError) -> str | None:
    """Return the field of the form that an error is about."""
    if not isinstance(error, RecommendationError):
        return field_of(error)
    return "most" if error.fewest is not None else "exclude" if error.networks else "days"
