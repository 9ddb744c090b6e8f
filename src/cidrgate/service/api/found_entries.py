"""`/v1/entries`: the entries of all accounts that cover or overlap a network."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from cidrgate.errors import InvalidAddressError
from cidrgate.serialization import found_entry_record
from cidrgate.service.api.openapi import READ, answers
from cidrgate.service.api.schemas import ENTRY_EXAMPLE, EntryModel, ResponseModel, response_example
from cidrgate.service.auth.access import Admin
from cidrgate.service.http.idempotency import Answer
from cidrgate.service.http.limits import LONGEST_ADDRESS
from cidrgate.service.http.pagination import Cursor, Limit, cursor_after, filled, number_of_cursor
from cidrgate.service.http.problems import InvalidRequestError
from cidrgate.service.http.strict_requests import StrictRoute
from cidrgate.service.settings import service_of

__all__ = ["FoundEntryModel", "FoundEntryPageModel", "router"]

router = APIRouter(prefix="/v1/entries", tags=["entries"], route_class=StrictRoute)


class FoundEntryModel(EntryModel):
    """An entry that a search across accounts found."""

    model_config = response_example({**ENTRY_EXAMPLE, "allows": True, "subaccount_count": 2})

    allows: bool = Field(
        description="Whether the entry allows the addresses of its network now, for its account and the subaccounts of "
        "that. A disabled or expired entry does not."
    )
    subaccount_count: int = Field(description="The number of subaccounts, which inherit the list.")


class FoundEntryPageModel(ResponseModel):
    """A page of found entries, in the order in which they were added."""

    items: list[FoundEntryModel]
    next_cursor: str | None = Field(description="The cursor of the next page; null on the last page.")


@router.get("", response_model=FoundEntryPageModel, responses=answers(headers={200: READ}))
def find_entries(
    request: Request,
    _principal: Admin,
    limit: Limit = 100,
    cursor: Cursor = None,
    covers: Annotated[
        str | None,
        Query(
            max_length=LONGEST_ADDRESS,
            description="Find the entries that contain this address or network.",
            examples=["8.8.8.8"],
        ),
    ] = None,
    overlaps: Annotated[
        str | None,
        Query(
            max_length=LONGEST_ADDRESS,
            description="Find the entries that contain this network, or that are inside of it.",
            examples=["8.8.0.0/16"],
        ),
    ] = None,
) -> Response:
    """Find entries in the lists of all accounts: send either `covers` or `overlaps`. Only for admins.

    Accounts without entries allow every address, and are not found.
    """
    after = number_of_cursor(cursor) or 0
    if (covers is None) == (overlaps is None):
        detail = "send either covers or overlaps"
        code = "missing" if covers is None else "invalid_value"
        raise InvalidRequestError([{"code": code, "detail": detail, "parameter": "covers"}])
    try:
        found = service_of(request).manager.find(covers, overlaps=overlaps, after=after, limit=limit + 1)
    except InvalidAddressError as error:
        parameter = "covers" if overlaps is None else "overlaps"
        raise InvalidRequestError([{"code": error.code, "detail": str(error), "parameter": parameter}]) from error
    items, last = filled(found, found_entry_record, lambda one: one.entry.id, limit)
    return Answer({"items": items, "next_cursor": None if last is None else cursor_after(last)}).read()
