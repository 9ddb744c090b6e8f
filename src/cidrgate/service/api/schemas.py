"""The parts of JSON objects that several resources share, as the OpenAPI document describes them.

The objects of one resource are defined beside its operations. `cidrgate.serialization` makes the responses.
"""

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
    create_model,
)

from cidrgate.manager.outcomes import Guard
from cidrgate.rules import RULES
from cidrgate.serialization import EntryInfo, entry_record
from cidrgate.service.http.limits import LONGEST_LABEL
from cidrgate.values import Entry, EntryDetails

__all__ = [
    "DetailsModel",
    "ENTRY_EXAMPLE",
    "EntryModel",
    "FirstErrorOnly",
    "Identity",
    "Label",
    "MOST_ID",
    "ProblemDetails",
    "RequestModel",
    "ResponseModel",
    "RuleProblem",
    "Text",
    "Time",
    "request_example",
    "response_example",
]

MOST_ID = 2**63 - 1
"""The greatest key in any database."""


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
        raise ValueError("this time is out of range") from error


def _unicode(text: str) -> str:
    """Require a text that can be sent back: JSON can express surrogates, which no Unicode encoding can."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("this is not Unicode text: it contains a lone surrogate")
    return text


class FirstErrorOnly(FailFast):
    """Marks a list of which only the first wrong element is reported: it may have a hundred thousand elements."""

    def __hash__(self) -> int:
        return hash(type(self))


Text = Annotated[str, AfterValidator(_unicode)]
Time = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_in_range)]
Label = Annotated[
    str,
    Field(description="A name for people; an empty one is null.", json_schema_extra={"maxLength": LONGEST_LABEL}),
]
"""A label, which the library checks: `cidrgate.rules.characters.checked_text`."""
Identity = Annotated[int, Field(ge=1, le=MOST_ID, strict=True)]


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


if TYPE_CHECKING:

    class EntryModel(ResponseModel):
        """One entry of a list; built from `EntryInfo`."""

else:
    EntryModel = create_model(
        "EntryModel",
        __base__=ResponseModel,
        __config__=None,
        __doc__="One entry of a list.",
        **{one.name: (get_type_hints(EntryInfo)[one.name], Field(**one.metadata)) for one in fields(EntryInfo)},
    )
    EntryModel.model_config |= response_example(ENTRY_EXAMPLE)
    EntryModel.model_rebuild(force=True)


class DetailsModel(RequestModel):
    """The details of an entry: the fields of `EntryDetails`."""

    label: Label | None = None
    expires_at: Time | None = Field(None, description="The time at which it expires; null for never.")

    def details(self) -> EntryDetails:
        """Return the details that the request contains."""
        said = {name: getattr(self, name) for name in DetailsModel.model_fields if name in self.model_fields_set}
        return cast("EntryDetails", said)


class RuleProblem(ResponseModel):
    """One violation of a rule."""

    code: str = Field(
        description="; ".join(f"`{rule.code}`: {rule.when}" for rule in RULES) + ".",
        json_schema_extra={"enum": [rule.code for rule in RULES]},
    )
    text: str = Field(description="The submitted text.")
    position: int = Field(description="Its position in the submission, from 0.")
    conflicts: list[str] = Field(description="The first 100 networks that it conflicts with.")
    hint: str = Field(description="How to correct it.")
    more_conflicts: int = Field(description="The number of further conflicts.")


class ProblemDetails(ResponseModel):
    """An error, in the format of RFC 9457."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:cidrgate:problem:rules_broken",
                    "title": "Unprocessable Entity",
                    "status": 422,
                    "detail": "invalid_format: '8.8.8.8': add the length: 8.8.8.8/32",
                    "code": "rules_broken",
                    "problems": [
                        {
                            "code": "invalid_format",
                            "text": "8.8.8.8",
                            "position": 0,
                            "conflicts": [],
                            "hint": "add the length: 8.8.8.8/32",
                            "more_conflicts": 0,
                        }
                    ],
                    "confirm": [],
                    "more_problems": 0,
                }
            ]
        },
    )

    type: str = Field(description="`urn:cidrgate:problem:` followed by the code.")
    title: str
    status: int
    detail: str = Field(description="What is wrong and how to correct it.")
    code: str = Field(description="The error code.")
    problems: list[RuleProblem] = Field(description="The first 100 violations of rules; empty for other errors.")
    more_problems: int = Field(description="The number of further violations.")
    confirm: list[Guard] = Field(
        description="The values of `confirm` with which to repeat the request, if a guard rejected it."
    )
