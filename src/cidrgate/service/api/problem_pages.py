"""`/problems/{code}`: the pages that the `type` of each problem leads to. They are public and contain no secrets."""

from html import escape
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import Field

from cidrgate.gate.denial import prefers_html
from cidrgate.problem_types import PROBLEM_TYPES, TYPE_OF_CODE, ProblemType
from cidrgate.service.api.openapi import READ, answers
from cidrgate.service.api.schemas import ResponseModel, open_enum, response_example
from cidrgate.service.http.idempotency import Answer
from cidrgate.service.http.prefix import prefix_of
from cidrgate.service.http.problems import ServiceError
from cidrgate.service.http.strict_requests import StrictRoute

__all__ = ["ProblemTypeModel", "router"]

_LONGEST_CODE = 64

router = APIRouter(prefix="/problems", tags=["problems"], route_class=StrictRoute)

Code = Annotated[
    str,
    Path(
        max_length=_LONGEST_CODE,
        description="The code of a problem.",
        json_schema_extra=open_enum(kind.code for kind in PROBLEM_TYPES),
    ),
]


def _record(kind: ProblemType, prefix: str = "") -> dict[str, object]:
    return {
        "type": prefix + kind.uri,
        "code": kind.code,
        "title": kind.title,
        "status": kind.status,
        "meaning": kind.meaning,
        "advice": kind.advice,
    }


class ProblemTypeModel(ResponseModel):
    """A type of problem."""

    model_config = response_example(_record(TYPE_OF_CODE["rules_broken"]))

    type: str = Field(
        description="The `type` of its problems: the path of this page.", json_schema_extra={"format": "uri-reference"}
    )
    code: str = Field(description="The `code` of its problems.")
    title: str = Field(description="The `title` of its problems.")
    status: int | None = Field(description="The HTTP status of its problems; null if only the library has them.")
    meaning: str = Field(description="What has happened.")
    advice: str = Field(description="What to do about it.")


@router.get(
    "/{code}",
    response_model=ProblemTypeModel,
    responses={
        **answers(404, public=True, headers={200: READ}),
        200: {"content": {"text/html": {"schema": {"type": "string"}}}, "headers": READ},
    },
)
async def get_problem_type(request: Request, code: Code) -> Response:
    """Describe a type of problem: JSON, or a page for browsers. It needs no token."""
    kind = TYPE_OF_CODE.get(code)
    if kind is None:
        raise ServiceError("not_found", "there is no problem with this code")
    if prefers_html(request.headers.get("accept", "")):
        return HTMLResponse(_page(kind), headers={"Vary": "Accept"})
    return Answer(_record(kind, prefix_of(request.scope)), headers={"Vary": "Accept"}).read()


def _page(kind: ProblemType) -> str:
    """Return a page that loads no other files."""
    status = "" if kind.status is None else f", HTTP status {kind.status}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(kind.title)}</title>'
        f"<h1>{escape(kind.title)}</h1><p><code>{escape(kind.code)}</code>{status}</p>"
        f"<p>{escape(kind.meaning)}</p><p>{escape(kind.advice)}</p></html>\n"
    )
