"""The parts of JSON objects that several resources share, as the OpenAPI document describes them.

The objects of one resource are defined beside its operations. `cidrgate.serialization` makes the responses.
"""

import dataclasses
import re
from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, cast, get_type_hints

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    StrictBool,
    StrictInt,
    create_model,
)
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from cidrgate.problem_types import PROBLEM_TYPES
from cidrgate.rules import RULES
from cidrgate.serialization import EntryInfo, entry_record
from cidrgate.service.http.limits import GREATEST_INTEGER, LONGEST_LABEL, LONGEST_NAME
from cidrgate.values import DETAILS, Detail, Entry, EntryDetails

__all__ = [
    "AccountText",
    "DetailsModel",
    "ENTRY_EXAMPLE",
    "EntryModel",
    "FirstErrorOnly",
    "Identity",
    "Label",
    "ProblemErrorModel",
    "ProblemModel",
    "RULE_EXAMPLE",
    "RequestModel",
    "ResponseModel",
    "Text",
    "Time",
    "open_enum",
    "request_example",
    "response_example",
    "without_default",
]


_SURROGATE = re.compile("[\ud800-\udfff]")


def _written(time: object) -> object:
    """Require a time in the format of RFC 3339; the unit of a number would be unclear."""
    if isinstance(time, datetime) or (isinstance(time, str) and time[4:5] == "-"):
        return time
    raise ValueError("write a time such as 2027-01-31T18:00:00+00:00")


def _in_range(time: datetime) -> datetime:
    """Require a time that UTC can represent too."""
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise PydanticCustomError("invalid_expiry", "this time is out of range") from error


def _unicode(text: str) -> str:
    """Require a text that can be sent back: JSON can express surrogates, which no Unicode encoding can."""
    if _SURROGATE.search(text):
        raise ValueError("this is not Unicode text: it contains a lone surrogate")
    return text


class FirstErrorOnly(FailFast):
    """Marks a list of which only the first wrong element is reported: it may have a hundred thousand elements."""

    def __hash__(self) -> int:
        return hash(type(self))


def open_enum(values: Iterable[str]) -> dict[str, Any]:
    """Return what a schema says of a text with these values, to which later versions may add some.

    An `enum` would make the programs that are generated from the document refuse every new value.
    """
    return {"x-extensible-enum": list(values)}


def without_default(schema: dict[str, Any]) -> None:
    """Remove the default from the schema of a member that may be left out: what it means then is described."""
    schema.pop("default", None)


Text = Annotated[str, AfterValidator(_unicode)]
AccountText = Annotated[Text, Field(json_schema_extra={"maxLength": LONGEST_NAME})]
"""The name of an account or a token; the library checks it, and says what is wrong with it."""
Time = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_in_range)]
Label = Annotated[
    Text,
    Field(description="A name for people; an empty one is null.", json_schema_extra={"maxLength": LONGEST_LABEL}),
]
"""A label, which the library checks: `cidrgate.rules.characters.checked_text`."""
Identity = Annotated[int, Field(ge=1, le=GREATEST_INTEGER, strict=True)]


class ResponseModel(BaseModel):
    """An object in a response of the service."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class RequestModel(BaseModel):
    """An object in a request; an unknown field is rejected."""

    model_config = ConfigDict(extra="forbid")


def response_example(example: Any) -> ConfigDict:
    """Return the configuration of a `ResponseModel` with an example."""
    return ConfigDict(json_schema_extra={"examples": [example]})


def request_example(example: Any) -> ConfigDict:
    """Return the configuration of a `RequestModel` with an example."""
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [example]})


ENTRY_EXAMPLE = entry_record(
    Entry(
        id=7,
        account="acct-1",
        cidr="8.8.8.0/24",
        label="office",
        created_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        created_by="billing",
    )
)


def _described(one: "dataclasses.Field[Any]") -> Any:
    """Return the field of a response for a field of a value, with what its metadata say."""
    said = {"description": one.metadata["meaning"], **one.metadata}
    return Field(**{name: value for name, value in said.items() if name in ("description", "pattern")})


if TYPE_CHECKING:

    class EntryModel(ResponseModel):
        """One entry of a list; built from `EntryInfo`."""

else:
    EntryModel = create_model(
        "EntryModel",
        __base__=ResponseModel,
        __config__=None,
        __doc__="One entry of a list.",
        **{one.name: (get_type_hints(EntryInfo)[one.name], _described(one)) for one in fields(EntryInfo)},
    )
    EntryModel.model_config |= response_example(ENTRY_EXAMPLE)
    EntryModel.model_rebuild(force=True)


_IN_REQUESTS: dict[type, Any] = {str: Label, bool: StrictBool, int: StrictInt, datetime: Time}
"""How requests contain the details of each type."""


def _detail_field(detail: Detail) -> tuple[Any, Any]:
    """Return the type and the field of a detail in a request."""
    kind = _IN_REQUESTS[detail.kind]
    said = Field(detail.default, description=detail.meaning, json_schema_extra=without_default)
    return (kind | None if detail.nullable else kind), said


class _Details(RequestModel):
    """The details of an entry: the fields of `EntryDetails`, made of their declarations."""

    def details(self) -> EntryDetails:
        """Return the details that the request contains; null clears a detail."""
        names = (detail.name for detail in DETAILS if detail.name in self.model_fields_set)
        return cast("EntryDetails", {name: getattr(self, name) for name in names})


if TYPE_CHECKING:

    class DetailsModel(_Details):
        """The details of an entry."""

else:
    DetailsModel = create_model(
        "DetailsModel", __base__=_Details, **{detail.name: _detail_field(detail) for detail in DETAILS}
    )


def _optional(description: str, **extra: Any) -> Any:
    """Return the field of a member that only some objects have."""

    def described(schema: dict[str, Any]) -> None:
        without_default(schema)
        schema.update(extra)

    return Field(default=None, description=description, json_schema_extra=described)


_INVALID_PARTS = (
    "missing",
    "unknown",
    "repeated",
    "wrong_type",
    "out_of_range",
    "too_long",
    "too_short",
    "invalid_value",
    "invalid_address",
    "invalid_expiry",
)


class ProblemErrorModel(BaseModel):
    """One thing that is wrong: a broken rule, or an invalid part of the request."""

    code: str = Field(
        description="For a broken rule, "
        + "; ".join(f"`{rule.code}`: {rule.when}" for rule in RULES)
        + ". For a part of a request, what is wrong with it.",
        json_schema_extra=open_enum([*(rule.code for rule in RULES), *_INVALID_PARTS]),
    )
    detail: str = Field(description="What is wrong and how to correct it.")
    pointer: str | SkipJsonSchema[None] = _optional(
        "The part of the body, as a JSON pointer (RFC 6901).", format="json-pointer"
    )
    parameter: str | SkipJsonSchema[None] = _optional("The parameter of the path or the query.")
    header: str | SkipJsonSchema[None] = _optional("The header.")
    text: str | SkipJsonSchema[None] = _optional("Of a rule: the submitted text.")
    position: int | SkipJsonSchema[None] = _optional("Of a rule: the position in the submission, from 0.")
    conflicts: list[str] | SkipJsonSchema[None] = _optional(
        "Of a rule: the first 100 networks that the text conflicts with."
    )
    more_conflicts: int | SkipJsonSchema[None] = _optional("Of a rule: the number of further conflicts.")
    hint: str | SkipJsonSchema[None] = _optional("Of a rule: how to correct it.")
    suggestions: list[str] | SkipJsonSchema[None] = _optional(
        "Of a rule: what could be submitted instead of the text, the best first; the list accepts each of them."
    )


RULE_EXAMPLE: dict[str, Any] = {
    "code": "invalid_format",
    "detail": "'8.8.8.8': add the length: 8.8.8.8/32",
    "text": "8.8.8.8",
    "position": 0,
    "conflicts": [],
    "hint": "add the length: 8.8.8.8/32",
    "more_conflicts": 0,
    "suggestions": ["8.8.8.8/32"],
    "pointer": "/entries/0/cidr",
}


class ProblemModel(BaseModel):
    """An error, in the format of RFC 9457."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "/problems/rules_broken",
                    "title": "Rules broken",
                    "status": 422,
                    "detail": "invalid_format: '8.8.8.8': add the length: 8.8.8.8/32",
                    "code": "rules_broken",
                    "errors": [RULE_EXAMPLE],
                    "more_errors": 0,
                    "confirm": [],
                }
            ]
        },
    )

    type: str = Field(
        description="The path of a page of this service that describes the problem: its prefix, if it has one, "
        "`/problems/` and the code. Compare `code`.",
        json_schema_extra={"format": "uri-reference"},
    )
    title: str = Field(description="The title, the same for each problem of a type.")
    status: int = Field(json_schema_extra={"format": "int32"})
    detail: str = Field(description="What is wrong and how to correct it.")
    code: str = Field(
        description="The type of the problem, for programs.",
        json_schema_extra=open_enum(kind.code for kind in PROBLEM_TYPES if kind.status is not None),
    )
    errors: list[ProblemErrorModel] = Field(
        description="What is wrong in particular: the first 100 broken rules, or the first 50 invalid parts of the "
        "request; empty for other problems."
    )
    more_errors: int | SkipJsonSchema[None] = _optional("The number of errors that are not in `errors`.")
    confirm: list[str] | SkipJsonSchema[None] = _optional(
        "The values of `confirm` with which to repeat the request, if a guard rejected it.",
    )
    data: dict[str, Any] | SkipJsonSchema[None] = _optional(
        "What the problem is about, by the names of the attributes that the error of this code has in Python, such as "
        "`account`, `expected` and `actual` of a `version_conflict`. Later versions may add members."
    )
    outcome: str | SkipJsonSchema[None] = _optional("`unknown` if the change may or may not be stored.")
    address: str | None = _optional("The client address, if it may not use the service; null if it is unknown.")
    request_id: str | SkipJsonSchema[None] = _optional("Identifies the denial in the log of the operator.")
