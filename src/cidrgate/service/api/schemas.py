"""What the JSON objects of several resources are made of, as the OpenAPI document describes them.

The objects of one resource stand beside its operations. Answers are made by `cidrgate.serialization`.
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
    "plain_label",
    "request_example",
    "response_example",
]

MOST_ID = 2**63 - 1
"""The greatest key of any database."""


def _written(time: object) -> object:
    """A time that is written as RFC 3339 says; a number could be seconds of any kind."""
    if isinstance(time, datetime) or (isinstance(time, str) and time[4:5] == "-"):
        return time
    raise ValueError("write a time as 2027-01-31T18:00:00+00:00")


def _in_range(time: datetime) -> datetime:
    """A time that is one in UTC too."""
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("this time is too far away") from error


def _unicode(text: str) -> str:
    """A text that can be sent back: JSON can write halves of characters that Unicode has no encoding for."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("this is no Unicode text: it holds half a character")
    return text


def plain_label(text: str) -> str:
    """A label that customers may give: any store holds it, and any page shows it on its line.

    Raises:
        ValueError: If it is too long, or holds control characters.
    """
    if len(text) > LONGEST_LABEL or not text.isprintable():
        raise ValueError(f"a label is one line of at most {LONGEST_LABEL} characters, without control characters")
    return text


class FirstErrorOnly(FailFast):
    """A list whose first wrong element is reported alone: each of a hundred thousand would be an error of its own."""

    def __hash__(self) -> int:
        return hash(type(self))


Text = Annotated[str, AfterValidator(_unicode)]
Time = Annotated[AwareDatetime, BeforeValidator(_written), AfterValidator(_in_range)]
Label = Annotated[str, Field(max_length=LONGEST_LABEL, description="What people call it."), AfterValidator(plain_label)]
Identity = Annotated[int, Field(ge=1, le=MOST_ID, strict=True)]


class ResponseModel(BaseModel):
    """An object that the service answers with."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class RequestModel(BaseModel):
    """An object that a request brings; one with a field that is not known is refused."""

    model_config = ConfigDict(extra="forbid")


def response_example(example: Any) -> ConfigDict:
    """The configuration of a `ResponseModel` with an example."""
    return ConfigDict(json_schema_extra={"examples": [example]})


def request_example(example: Any) -> ConfigDict:
    """The configuration of a `RequestModel` with an example."""
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
        """One entry of a list; made of `EntryInfo`."""

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
    """What may be said of an entry besides its network: the fields of `EntryDetails`."""

    label: Label | None = None
    expires_at: Time | None = Field(None, description="When it ends by itself; null for never.")

    def details(self) -> EntryDetails:
        """What was said."""
        said = {name: getattr(self, name) for name in DetailsModel.model_fields if name in self.model_fields_set}
        return cast("EntryDetails", said)


class RuleProblem(ResponseModel):
    """One broken rule."""

    code: str = Field(
        description="; ".join(f"`{rule.code}`: {rule.when}" for rule in RULES) + ".",
        json_schema_extra={"enum": [rule.code for rule in RULES]},
    )
    text: str = Field(description="The text as it was submitted.")
    position: int = Field(description="Its place in the submission, from 0.")
    conflicts: list[str] = Field(description="What it conflicts with; the first 100.")
    hint: str = Field(description="What to do about it.")
    more_conflicts: int = Field(description="How many conflicts there are besides.")


class ProblemDetails(ResponseModel):
    """An error, by RFC 9457."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:cidrgate:problem:rule",
                    "title": "Unprocessable Entity",
                    "status": 422,
                    "detail": "invalid_format: '8.8.8.8': add the length: 8.8.8.8/32",
                    "code": "rule",
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

    type: str = Field(description="`urn:cidrgate:problem:` and the code.")
    title: str
    status: int
    detail: str = Field(description="What is wrong and what to do about it.")
    code: str = Field(description="What kind of error it is.")
    problems: list[RuleProblem] = Field(description="Every broken rule of a submission, the first 100; else empty.")
    more_problems: int = Field(description="How many there are besides.")
    confirm: list[Guard] = Field(
        description="What to repeat the request with as `confirm`, where a guard refused it; else empty."
    )
