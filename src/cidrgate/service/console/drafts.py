"""Input before it becomes a change: entries to add, or one to edit, with what the rules report about it."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Annotated, Any, Final

from fastapi import Depends, Form

from cidrgate._engine import canonical_prefix
from cidrgate.errors import CidrgateError, InvalidAddressError, Problem, RuleError, StoreError
from cidrgate.manager import RuleManager
from cidrgate.manager.previews import networks_without
from cidrgate.rules import RULE_OF_CODE, split_submission
from cidrgate.rules.notations import Notation, meaning_of
from cidrgate.service.console.changing import Agreement, ListEdit, Preview, preview_change
from cidrgate.service.console.conflicts import Conflict, began_fields, merged_fields, overlaps
from cidrgate.service.console.details import LAID_OUT, detail_of_text, detail_text, details_sent, takes_details
from cidrgate.service.console.fields import MOST_IDS, Began, Confirmations, Ids, ListText, Proof, ShortText
from cidrgate.service.console.messages import FormError, field_of, hint_of, message_of
from cidrgate.service.console.pasting import pasted_networks
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
    "fixed",
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

_NO_TIME = "Choose when the entries expire."

_DETAIL_OF_NAME = {detail.name: detail for detail in DETAILS}
_LABEL, _EXPIRY = _DETAIL_OF_NAME["label"], _DETAIL_OF_NAME["expires_at"]
_TITLES = {"cidr": "CIDR", **{LAID_OUT.get(detail.name, detail.name): detail.title for detail in DETAILS}}


@dataclass(frozen=True, slots=True)
class Addition:
    """Entries that a person is about to add.

    Attributes:
        account: The account of the list.
        cidrs: The networks as typed.
        label: The label of all of them; empty for none.
        ends: A key of `LIFETIMES`.
        ends_at: The time in UTC, if `ends` is `at`.
        replaces: The ids of listed entries that may be replaced: each is, while a typed network covers it.
        version: The version of the list that the person saw; None if the form did not send it.
        confirmed: What the person has confirmed.
        shown_for: What the confirmations were shown for; see `Agreement`.
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
    shown_for: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    _texts: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Split the networks once: a form has room for many, and each answer looks at all of them."""
        object.__setattr__(self, "_texts", tuple(piece.cidr for piece in split_submission(self.cidrs)))

    @property
    def agreement(self) -> Agreement:
        """What the person has confirmed, and for what. A label decides nothing."""
        fields = {
            "account": self.account,
            "version": self.version,
            "cidrs": self.texts(),
            "ends": self.ends,
            "ends_at": self.ends_at if self.ends == "at" else "",
            "replaces": sorted(self.replaces),
            "details": dict(self.details),
        }
        return Agreement("list/add", fields, self.confirmed, self.shown_for)

    def texts(self) -> list[str]:
        """Return the submitted networks as the rules see them, in their order."""
        return list(self._texts)

    def rewritten(self, instead: Mapping[int, Iterable[str]]) -> "Addition":
        """Return a copy in which other texts replace some networks, by position; no text removes a network."""
        texts = self.texts()
        made = [new for position, text in enumerate(texts) for new in instead.get(position, [text])]
        return replace(self, cidrs="\n".join(made))

    def leaving(self, listed: Iterable[Entry]) -> list[Entry]:
        """Return the entries that the typed networks replace."""
        return _covered([entry for entry in listed if entry.id in self.replaces], self.texts())

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
        if not self.leaving(listed):
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
        return problem.position - len(self._staying(listed)) if self.leaving(listed) else problem.position

    def _staying(self, listed: list[Entry]) -> list[Entry]:
        leaving = self.leaving(listed)
        return _others(listed, leaving)

    def _expires_at(self) -> datetime | None:
        if self.ends == "at":
            expires_at: datetime | None = detail_of_text(_EXPIRY, self.ends_at, None)
            if expires_at is None:
                raise FormError(_NO_TIME, field="ends_at")
            return expires_at
        if self.ends == "never":
            return None
        if self.ends not in LIFETIMES:
            raise FormError(_NO_TIME, field="ends_at")
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
        replaces: The ids of other entries that may be replaced: each is, while the typed network covers it.
        confirmed: What the person has confirmed.
        shown_for: What the confirmations were shown for; see `Agreement`.
        details: The texts of the fields in `FORM_DETAILS`, by detail.
        began: The texts that the fields began with, by field.
    """

    account: str
    entry: int
    version: int
    cidr: str
    label: str = ""
    ends_at: str = ""
    replaces: tuple[int, ...] = ()
    confirmed: tuple[str, ...] = ()
    shown_for: str = ""
    details: Mapping[str, str] = field(default_factory=dict)
    began: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def begin(cls, entry: Entry, version: int) -> "Edit":
        """Return the form for an unchanged entry."""
        texts = {detail.name: detail_text(detail, getattr(entry, detail.name)) for detail in DETAILS}
        label, ends_at = texts.pop("label"), texts.pop("expires_at")
        draft = cls(entry.account, entry.id, version, entry.cidr, label, ends_at, details=texts)
        return replace(draft, began=draft.texts())

    def texts(self) -> dict[str, str]:
        """Return the texts of the fields, by field."""
        return {"cidr": self.cidr, "label": self.label, "ends_at": self.ends_at, **self.details}

    def after(self, conflict: Conflict, entry: Entry) -> tuple["Edit", Conflict]:
        """Return the form after others have changed the list, and what it says of them.

        Args:
            conflict: What they have changed.
            entry: The entry as it is after that.
        """
        now = Edit.begin(entry, conflict.version)
        texts = merged_fields(self.began, self.texts(), now.began)
        said = replace(conflict, overlaps=overlaps(self.began, texts, now.began, _TITLES))
        made = replace(
            self,
            version=conflict.version,
            cidr=texts.pop("cidr"),
            label=texts.pop("label"),
            ends_at=texts.pop("ends_at"),
            details=texts,
            began=now.began,
        )
        return made, said

    @property
    def agreement(self) -> Agreement:
        """What the person has confirmed, and for what. A label decides nothing."""
        fields = {
            "account": self.account,
            "entry": self.entry,
            "version": self.version,
            "cidr": self.cidr,
            "ends_at": self.ends_at,
            "replaces": sorted(self.replaces),
            "details": dict(self.details),
        }
        return Agreement("list/edit", fields, self.confirmed, self.shown_for)

    def leaving(self, listed: Iterable[Entry]) -> list[Entry]:
        """Return the entries that the typed network replaces, besides the edited entry."""
        return _covered([one for one in listed if one.id in self.replaces and one.id != self.entry], [self.cidr])

    def change(self, entry: Entry, listed: list[Entry], actor: str | None, *, version: int | None) -> ListEdit:
        """Return the change.

        Args:
            entry: The current entry.
            listed: The current list.
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
        leaving = self.leaving(listed)
        if leaving:
            staying = _others(listed, [entry, *leaving])
            pieces = [*(NewEntry(one.cidr) for one in staying), NewEntry.of(edit.applied(entry))]
            # A person who replaces entries has seen the list.
            return lambda manager: manager.replace(self.account, pieces, actor=actor, expect_version=self.version)
        return lambda manager: manager.edit(
            self.account,
            self.entry,
            edit,
            actor=actor,
            expect_version=version,
        )


def _covered(entries: Iterable[Entry], texts: Iterable[str]) -> list[Entry]:
    """Return the entries that typed networks cover."""
    entries = list(entries)
    if not entries:
        return []
    networks = [ip_network(cidr) for text in texts if (cidr := _canonical(text)) is not None]
    return [
        entry
        for entry in entries
        if any(
            one.version == entry.network.version and entry.network.subnet_of(one)  # type: ignore[arg-type]
            for one in networks
        )
    ]


def _canonical(text: str) -> str | None:
    try:
        return canonical_prefix(text.strip())
    except InvalidAddressError:
        return None


def _others(listed: Iterable[Entry], leaving: list[Entry]) -> list[Entry]:
    """Return the entries of a list that stay. Those that have expired are not submitted with a new list."""
    now, gone = datetime.now(UTC), {entry.id for entry in leaving}
    return [entry for entry in listed if entry.id not in gone and (entry.counts(now) or not leaving)]


@dataclass(frozen=True, slots=True)
class DraftProblem:
    """One violation of a rule, and the corrections that a person can choose.

    Attributes:
        problem: The violation.
        hint: What it means, in the console's words.
        position: The submitted network that it is about.
        alternatives: Texts that can replace the submitted network.
        parts: The networks that the submitted text contains, if it can be split.
        gives_way: Ids of the listed entries that it could replace.
        narrower: Positions of submitted networks that it covers, and that could be omitted.
        repeats: Whether the list, or another submitted network, contains already what it means.
        can_leave_out: Whether omitting the network would solve the problem.
        search: What finds the listed entries with which it conflicts; None if there are none.
    """

    problem: Problem
    hint: str
    position: int
    alternatives: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    gives_way: tuple[int, ...] = ()
    narrower: tuple[int, ...] = ()
    repeats: bool = False
    can_leave_out: bool = False
    search: str | None = None

    def obvious(self) -> dict[int, tuple[str, ...]]:
        """Return the one correction that loses nothing, by position; empty if there is none, or a choice."""
        if self.parts:
            return {self.position: self.parts}
        if len(self.alternatives) == 1:
            return {self.position: self.alternatives}
        if self.can_leave_out and (self.repeats or self.problem.code in ("duplicate_entry", "subset_exists")):
            return {self.position: ()}
        return dict.fromkeys(self.narrower, ())


@dataclass(frozen=True, slots=True)
class DraftCheck:
    """What is known about a change before it is made: what it would do, or what prevents it.

    Attributes:
        preview: What it would do; None if something prevents it.
        found: The first violations of rules.
        message: Any other reason that prevents it.
        wrong: The name of the field that is the reason; None if it is none, or the networks.
        more: The number of further violations.
    """

    preview: Preview | None = None
    found: tuple[DraftProblem, ...] = ()
    message: str | None = None
    wrong: str | None = None
    more: int = 0

    @property
    def fixable(self) -> int:
        """Return how many of the violations have one obvious correction."""
        return sum(bool(one.obvious()) for one in self.found)


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
        return DraftCheck(message=message_of(error), wrong=field_of(error))


_MOST_ROUNDS = 5
"""How often corrections are looked for: what is corrected may turn out to be listed already."""


def fixed(draft: Addition, check: Callable[[Addition], DraftCheck]) -> Addition:
    """Return the input with every obvious correction made; what needs a decision stays.

    Args:
        draft: The input.
        check: Checks an input.
    """
    for _ in range(_MOST_ROUNDS):
        instead: dict[int, tuple[str, ...]] = {}
        for found in check(draft).found if draft.texts() else ():
            for position, texts in found.obvious().items():
                instead.setdefault(position, texts)
        if not instead:
            break
        draft = draft.rewritten(instead)
    return draft


def corrections_for(
    problem: Problem,
    position: int,
    texts: list[str],
    listed: list[Entry],
    *,
    several: bool = True,
    replaces: Collection[int] = (),
) -> DraftProblem:
    """Return the corrections for a violation of a rule.

    Args:
        problem: The violation.
        position: The submitted network that it is about.
        texts: All submitted networks.
        listed: The entries of the list that could be replaced.
        several: Whether several networks may replace one.
        replaces: The ids of the entries that the input replaces already.
    """
    rule = RULE_OF_CODE[problem.code]
    alternatives = problem.suggestions
    parts: tuple[str, ...] = ()
    if problem.code == "invalid_format":
        # The text of a problem may be shortened.
        parts = pasted_networks(texts[position]) if position < len(texts) else ()
        alternatives = () if parts else alternatives
    if not several:
        each = parts or [text for one in alternatives for text in one.split(", ")]
        parts, alternatives = (), tuple(each[:_MOST_ALTERNATIVES])
    there = [entry.cidr for entry in listed] + [cidr for text in texts if (cidr := _canonical(text)) is not None]
    repeats = not alternatives and not parts and position < len(texts) and _is_covered(texts[position], there)
    gives_way: tuple[int, ...] = ()
    narrower: tuple[int, ...] = ()
    if rule.can_give_way and not problem.more_conflicts:
        # If not all conflicts are known, replacing the known ones would not be enough.
        ids = {entry.cidr: entry.id for entry in listed}
        gives_way = tuple(ids[cidr] for cidr in problem.conflicts if cidr in ids)
        if len(gives_way) + len(replaces) > MOST_IDS:
            gives_way = ()
        typed = {cidr: number for number, text in enumerate(texts) if (cidr := _canonical(text)) is not None}
        if not gives_way:
            narrower = tuple(typed[cidr] for cidr in problem.conflicts if cidr in typed and typed[cidr] != position)
    return DraftProblem(
        problem,
        hint_of(problem, [entry.cidr for entry in listed]),
        position,
        alternatives,
        parts,
        gives_way,
        narrower,
        repeats,
        can_leave_out=rule.can_leave_out,
        search=_canonical(texts[position]) if _is_listed(problem.conflicts, listed) else None,
    )


def _is_listed(cidrs: Iterable[str], listed: list[Entry]) -> bool:
    """Return whether one of the networks is in a list."""
    known = {entry.cidr for entry in listed}
    return any(cidr in known for cidr in cidrs)


_MOST_ALTERNATIVES = 4


def _is_covered(text: str, cidrs: list[str]) -> bool:
    """Return whether networks contain all that a text means, if it is not a network and has one meaning."""
    meaning = None if _canonical(text) is not None else meaning_of(text)
    return (
        meaning is not None
        and meaning.notation is not Notation.HOST_BITS
        and not networks_without(meaning.networks, cidrs)
    )


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
    shown_for: Proof = "",
    *,
    details: Mapping[str, str],
) -> Addition:
    return Addition(account, cidrs, label, ends, ends_at, tuple(replaces), version, tuple(confirm), shown_for, details)


@takes_details
def _edit(
    account: ShortText,
    entry: _Number,
    version: _Number,
    cidr: ShortText = "",
    label: ShortText = "",
    ends_at: ShortText = "",
    replaces: Ids = [],  # noqa: B006
    confirm: Confirmations = [],  # noqa: B006
    shown_for: Proof = "",
    began: Began = "",
    *,
    details: Mapping[str, str],
) -> Edit:
    return Edit(
        account,
        entry,
        version,
        cidr,
        label,
        ends_at,
        tuple(replaces),
        tuple(confirm),
        shown_for,
        details,
        began_fields(began),
    )


NewAddition = Annotated[Addition, Depends(_addition)]
"""The input of the form for new entries."""
NewEdit = Annotated[Edit, Depends(_edit)]
"""The input of the form for an entry."""
