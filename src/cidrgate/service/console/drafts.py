"""Input before it becomes a change: entries to add, or one to edit, with what the rules report about it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import Depends, Form

from cidrgate.errors import CidrgateError, Problem, RuleError, StoreError
from cidrgate.manager import RuleManager
from cidrgate.rules import RULE_OF_CODE, split_submission
from cidrgate.service.console.changing import ListEdit, Preview, preview_change
from cidrgate.service.console.details import FormError, detail_of_text, detail_text, details_sent, takes_details
from cidrgate.service.console.fields import Confirmations, Ids, ListText, ShortText
from cidrgate.service.http.integers import PLAIN
from cidrgate.service.http.limits import MOST_PROBLEMS_TOLD
from cidrgate.values import DETAILS, Entry, EntryEdit, NewEntry

__all__ = [
    "LIFETIMES",
    "Addition",
    "Edit",
    "DraftProblem",
    "NewAddition",
    "NewEdit",
    "DraftCheck",
    "corrections_for",
    "check_draft",
]

LIFETIMES: Final = {
    "never": "Never",
    "1": "In 1 day",
    "7": "In 7 days",
    "30": "In 30 days",
    "90": "In 90 days",
    "at": "At a time …",
}
"""The choices of the form for the expiry of an entry, by the value that it sends: a number of days."""


_DETAIL_OF_NAME = {detail.name: detail for detail in DETAILS}
_LABEL, _EXPIRY = _DETAIL_OF_NAME["label"], _DETAIL_OF_NAME["expires_at"]


@dataclass(frozen=True, slots=True)
class Addition:
    """Entries that a person is about to add.

    Attributes:
        account: The account of the list.
        cidrs: The networks as typed.
        label: The label of all of them; empty for none.
        ends: A key of `LIFETIMES`.
        ends_at: The time in UTC, if `ends` is `at`.
        replaces: The ids of listed entries that the new entries replace.
        version: The version of the list that the person saw; None if the form did not send it.
        confirmed: What the person has confirmed.
        details: The texts of the fields in `FORM_DETAILS`, by detail.
    """

    account: str
    cidrs: str
    label: str = ""
    ends: str = "never"
    ends_at: str = ""
    replaces: tuple[int, ...] = ()
    version: int | None = None
    confirmed: tuple[str, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)

    def texts(self) -> list[str]:
        """Return the submitted networks as the rules see them, in their order."""
        return [piece.cidr for piece in split_submission(self.cidrs)]

    def rewritten(self, position: int, text: str) -> "Addition":
        """Return a copy in which another text replaces one network; an empty text removes it."""
        texts = self.texts()
        texts[position : position + 1] = [text] if text else []
        return replace(self, cidrs="\n".join(texts))

    def change(self, listed: list[Entry], actor: str | None, *, checked: bool = True) -> ListEdit:
        """Return the change.

        Args:
            listed: The current list.
            actor: Who makes the change.
            checked: Whether an addition alone also requires the version that the person saw; not for a preview.

        Raises:
            FormError: If a field is invalid.
        """
        details: Any = {
            "label": detail_of_text(_LABEL, self.label, None),
            "expires_at": self._expires_at(),
            **details_sent(self.details),
        }
        staying = self._staying(listed)
        if len(staying) == len(listed):
            return lambda manager: manager.add(
                self.account,
                self.cidrs,
                actor=actor,
                expect_version=self.version if checked else None,
                **details,
            )
        new = split_submission(self.cidrs, **details)
        pieces = [*(NewEntry(entry.cidr) for entry in staying), *new]
        # A person who replaces entries has seen the list.
        seen = self.version or 0
        return lambda manager: manager.replace(self.account, pieces, actor=actor, expect_version=seen)

    def position_of(self, problem: Problem, listed: list[Entry]) -> int:
        """Return which submitted network a problem is about: entries that stay precede it if others are replaced."""
        staying = self._staying(listed)
        return problem.position if len(staying) == len(listed) else problem.position - len(staying)

    def _staying(self, listed: list[Entry]) -> list[Entry]:
        now = datetime.now(UTC)
        leaving = [entry for entry in listed if entry.id in self.replaces]
        return [entry for entry in listed if entry not in leaving and (entry.counts(now) or not leaving)]

    def _expires_at(self) -> datetime | None:
        if self.ends == "at":
            expires_at: datetime | None = detail_of_text(_EXPIRY, self.ends_at, None)
            return expires_at
        if self.ends == "never":
            return None
        if self.ends not in LIFETIMES:
            raise FormError("Choose when the entries expire.")
        return datetime.now(UTC).replace(microsecond=0) + timedelta(days=int(self.ends))


@dataclass(frozen=True, slots=True)
class Edit:
    """An entry that a person is about to change.

    Attributes:
        account: The account of the list.
        entry: The entry's id.
        version: The version of the list that the person saw.
        cidr: The network as typed.
        label: The label as typed; empty for none.
        ends_at: The time of expiry in UTC; empty for never.
        confirmed: What the person has confirmed.
        details: The texts of the fields in `FORM_DETAILS`, by detail.
    """

    account: str
    entry: int
    version: int
    cidr: str
    label: str = ""
    ends_at: str = ""
    confirmed: tuple[str, ...] = ()
    details: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def begin(cls, entry: Entry, version: int) -> "Edit":
        """Return the form for an unchanged entry."""
        texts = {detail.name: detail_text(detail, getattr(entry, detail.name)) for detail in DETAILS}
        label, ends_at = texts.pop("label"), texts.pop("expires_at")
        return cls(entry.account, entry.id, version, entry.cidr, label, ends_at, details=texts)

    def change(self, entry: Entry, actor: str | None, *, version: int | None) -> ListEdit:
        """Return the change.

        Args:
            entry: The current entry.
            actor: Who makes the change.
            version: The version that the list must have; None for any.

        Raises:
            FormError: If a field is invalid.
        """
        edit = EntryEdit(
            cidr=self.cidr,
            label=detail_of_text(_LABEL, self.label, entry.label),
            expires_at=detail_of_text(_EXPIRY, self.ends_at, entry.expires_at),
            **details_sent(self.details, entry),
        )
        return lambda manager: manager.edit(
            self.account,
            self.entry,
            edit,
            actor=actor,
            expect_version=version,
        )


@dataclass(frozen=True, slots=True)
class DraftProblem:
    """One violation of a rule, and the corrections that a person can choose.

    Attributes:
        problem: The violation, with its hint.
        position: The submitted network that it is about.
        alternatives: Texts that can replace the submitted network.
        gives_way: Ids of the listed entries that it could replace.
        can_leave_out: Whether omitting the network would solve the problem.
    """

    problem: Problem
    position: int
    alternatives: tuple[str, ...] = ()
    gives_way: tuple[int, ...] = ()
    can_leave_out: bool = False


@dataclass(frozen=True, slots=True)
class DraftCheck:
    """What is known about a change before it is made: what it would do, or what prevents it.

    Attributes:
        preview: What it would do; None if something prevents it.
        found: The first violations of rules.
        message: Any other reason that prevents it.
        more: The number of further violations.
    """

    preview: Preview | None = None
    found: tuple[DraftProblem, ...] = ()
    message: str | None = None
    more: int = 0


def check_draft(
    manager: RuleManager, change: Callable[[], ListEdit], address: str | None, found: Callable[[Problem], DraftProblem]
) -> DraftCheck:
    """Return what is known about a change.

    Args:
        manager: Reads the list.
        change: Reads the form.
        address: The person's address; None if it is unknown.
        found: Returns the corrections for a violation of a rule.

    Raises:
        StoreError: If the store cannot be read.
    """
    try:
        return DraftCheck(preview_change(manager, change(), address))
    except RuleError as error:
        shown = error.problems[:MOST_PROBLEMS_TOLD]
        more = len(error.problems) - len(shown) + error.more
        return DraftCheck(found=tuple(found(problem) for problem in shown), more=more)
    except StoreError:
        raise
    except CidrgateError as error:
        return DraftCheck(message=str(error))


def corrections_for(problem: Problem, position: int, listed: list[Entry] | None) -> DraftProblem:
    """Return the corrections for a violation of a rule.

    Args:
        problem: The violation.
        position: The submitted network that it is about.
        listed: The list, if its entries can be replaced; otherwise None.
    """
    rule = RULE_OF_CODE[problem.code]
    gives_way: tuple[int, ...] = ()
    if rule.can_give_way and listed is not None and not problem.more_conflicts:
        # If not all conflicts are known, replacing the known ones would not be enough.
        ids = {entry.cidr: entry.id for entry in listed}
        gives_way = tuple(ids[cidr] for cidr in problem.conflicts if cidr in ids)
    can_leave_out = rule.can_leave_out and listed is not None
    return DraftProblem(problem, position, problem.suggestions, gives_way, can_leave_out=can_leave_out)


_Number = Annotated[int, Form(ge=0, le=2**63 - 1), PLAIN]


@takes_details
def _addition(
    account: ShortText,
    cidrs: ListText = "",
    label: ShortText = "",
    ends: ShortText = "never",
    ends_at: ShortText = "",
    version: Annotated[int | None, Form(ge=0, le=2**63 - 1), PLAIN] = None,
    replaces: Ids = [],  # noqa: B006 - FastAPI copies defaults
    confirm: Confirmations = [],  # noqa: B006
    *,
    details: Mapping[str, str],
) -> Addition:
    return Addition(account, cidrs, label, ends, ends_at, tuple(replaces), version, tuple(confirm), details)


@takes_details
def _edit(
    account: ShortText,
    entry: _Number,
    version: _Number,
    cidr: ShortText = "",
    label: ShortText = "",
    ends_at: ShortText = "",
    confirm: Confirmations = [],  # noqa: B006
    *,
    details: Mapping[str, str],
) -> Edit:
    return Edit(account, entry, version, cidr, label, ends_at, tuple(confirm), details)


NewAddition = Annotated[Addition, Depends(_addition)]
"""The input of the form for new entries."""
NewEdit = Annotated[Edit, Depends(_edit)]
"""The input of the form for an entry."""
