"""The console's texts for problems, confirmations and changes."""

import unicodedata
from datetime import UTC, datetime
from typing import Final

from cidrgate.manager.outcomes import Guard
from cidrgate.manager.undoing import UNDOABLE
from cidrgate.rules import RULES
from cidrgate.service.console.details import detail_word
from cidrgate.values import DETAILS, Change, Detail, Entry

__all__ = [
    "CONFIRMATIONS",
    "ACCOUNT_CONFIRMATIONS",
    "DENY_TRAFFIC",
    "ENABLE_ENFORCEMENT",
    "PROBLEM_TITLES",
    "can_undo",
    "change_sentence",
    "isolated",
    "utc_text",
]

PROBLEM_TITLES: Final = {rule.code: rule.title for rule in RULES}

ENABLE_ENFORCEMENT: Final = "enable_enforcement"
"""The confirmation for the first entry. Only the console asks for it: programs add it to start enforcement."""

DENY_TRAFFIC: Final = "deny_traffic"
"""The confirmation for a change after which observed requests would be denied. Only the console asks for it."""

CONFIRMATIONS: Final = {
    ENABLE_ENFORCEMENT: "Start enforcing the list: every address that is not on it will be denied with 403.",
    DENY_TRAFFIC: "Deny these addresses, although requests came from them.",
    Guard.DISABLE_ENFORCEMENT.value: "Stop enforcing: every address may call for this account.",
    Guard.LOCK_OUT.value: "Lock my own address out: calls from it will be denied.",
    Guard.OTHER_LIST.value: "Use the other list: what is not on it loses access, and what is on it gains access.",
    Guard.WIDE_ENTRY.value: "List the wide network: very many addresses may call for this account.",
}
"""The confirmations before a change that could surprise a person."""

ACCOUNT_CONFIRMATIONS: Final = {
    ENABLE_ENFORCEMENT: CONFIRMATIONS[ENABLE_ENFORCEMENT],
    DENY_TRAFFIC: CONFIRMATIONS[DENY_TRAFFIC],
    Guard.DISABLE_ENFORCEMENT.value: (
        "Stop enforcing the list for the name that requests use now: they become requests of an unknown account, or of "
        "an account whose list is not enforced."
    ),
    Guard.LOCK_OUT.value: CONFIRMATIONS[Guard.LOCK_OUT.value],
    Guard.OTHER_LIST.value: "Let another list decide for this account: other addresses may call.",
}
"""The confirmations before a change of an account itself."""

_NAMED = 3


def utc_text(time: datetime) -> str:
    """Return a time as pages write it.

    Example:
        >>> utc_text(datetime(2030, 1, 31, 18, tzinfo=UTC))
        '2030-01-31 18:00 UTC'
    """
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def isolated(text: str) -> str:
    """Return a text for the middle of a sentence: one that is written from right to left does not reorder the rest.

    It stands between the characters FSI and PDI (UAX #9). Pages write a text that stands alone in a `bdi` element.

    Example:
        >>> isolated("office") == "office", isolated("\u05d0") == "\u2068\u05d0\u2069"
        (True, True)
    """
    turned = any(unicodedata.bidirectional(character) in ("R", "AL", "AN") for character in text)
    return f"\u2068{text}\u2069" if turned else text


def can_undo(change: Change) -> bool:
    """Return whether a change is of a kind that can be undone, whatever came after it."""
    return change.action in UNDOABLE


def change_sentence(change: Change) -> str:
    """Describe a change in one sentence, without its actor.

    Example:
        >>> from datetime import UTC, datetime
        >>> from cidrgate import Entry
        >>> now = datetime.now(UTC)
        >>> entry = Entry(id=7, account="acct-1", cidr="8.8.8.0/24", label=None, created_at=now, created_by="me")
        >>> change_sentence(
        ...     Change(sequence=2, at=now, actor="me", account="acct-1", action="remove", before=(entry,), after=())
        ... )
        'Deleted 8.8.8.0/24'
    """
    before, after = ([entry.cidr for entry in entries] for entries in (change.before, change.after))
    details = _details_changed(change)
    match change.action:
        case "create_account":
            return "Created the account"
        case "delete_account":
            return f"Deleted the account{f' and its list: {_some(before)}' if before else ''}"
        case "rename_account" | "move_account" | "edit_account" | "set_policy":
            return _account_sentence(change)
        case "set_mode":
            return _mode_sentence(change)
        case "undo" if change.details:
            return f"Undid a change. {_mode_sentence(change)}"
        case "expire" if change.details:
            return "The mode ended by itself: the list is enforced again"
        case "add":
            return f"Added {_some(after)}"
        case "remove":
            return f"Deleted {_some(before)}"
        case "expire":
            return f"{_some(before)} expired"
        case "edit":
            return f"Changed {_some(before)}{'' if before == after else f' to {_some(after)}'}{details}"
        case "replace":
            verb = "Replaced the list"
        case "undo":
            verb = "Undid a change"
        case "restore":
            verb = "Restored the list"
        case other:
            verb = other.replace("_", " ").capitalize()
    added = [cidr for cidr in after if cidr not in before]
    removed = [cidr for cidr in before if cidr not in after]
    parts = [f"added {_some(added)}"] if added else []
    parts += [f"removed {_some(removed)}"] if removed else []
    return f"{verb}: {' and '.join(parts)}{details}" if parts else f"{verb}{details}"


_PARTS: Final = {"name": "the account", "parent": "the parent", "display_name": "the display name"}


def _account_sentence(change: Change) -> str:
    """Describe a change of an account itself, or of the store.

    Example:
        >>> from datetime import UTC, datetime
        >>> _account_sentence(
        ...     Change(
        ...         sequence=3,
        ...         at=datetime.now(UTC),
        ...         actor="me",
        ...         account="acct-2",
        ...         action="rename_account",
        ...         before=(),
        ...         after=(),
        ...         details={"before": {"name": "acct-1"}, "after": {"name": "acct-2"}},
        ...     )
        ... )
        'Changed the account from acct-1 to acct-2'
    """
    said = change.details or {}
    before, after = said.get("before") or {}, said.get("after") or {}
    parts = [
        f"{_PARTS.get(name, name.replace('_', ' '))} from {_word(before.get(name))} to {_word(value)}"
        for name, value in after.items()
        if value != before.get(name)
    ]
    removed = f", and removed {_some([entry.cidr for entry in change.before])}" if change.before else ""
    return f"Changed {' and '.join(parts) or 'nothing'}{removed}"


def _word(value: object) -> str:
    return "none" if value is None else isolated(str(value))


def _mode_sentence(change: Change) -> str:
    """Describe a change of the mode of a list.

    Example:
        >>> from datetime import UTC, datetime
        >>> details = {"before": {"mode": "enforce"}, "after": {"mode": "off", "mode_reason": "incident"}}
        >>> _mode_sentence(
        ...     Change(
        ...         sequence=3,
        ...         at=datetime.now(UTC),
        ...         actor="me",
        ...         account="acct-1",
        ...         action="set_mode",
        ...         before=(),
        ...         after=(),
        ...         details=details,
        ...     )
        ... )
        'Paused the list (incident)'
    """
    details = change.details or {}
    said, was = details.get("after") or {}, details.get("before") or {}
    modes = {"enforce": "Enforced the list", "report_only": "Let the list only report", "off": "Paused the list"}
    until = said.get("mode_until")
    end = "" if until is None else f" until {utc_text(datetime.fromisoformat(until))}"
    reason = said.get("mode_reason")
    empty = ""
    if bool(said.get("closed")) != bool(was.get("closed")):
        empty = "; it is closed while it is empty" if said.get("closed") else "; it is open while it is empty"
    return f"{modes.get(str(said.get('mode')), 'Set the mode')}{end}{f' ({isolated(reason)})' if reason else ''}{empty}"


def _details_changed(change: Change) -> str:
    """Return which details a change altered of entries that stay, in parentheses; empty if none.

    Example:
        >>> from dataclasses import replace
        >>> from datetime import UTC, datetime
        >>> from cidrgate import Entry
        >>> now = datetime.now(UTC)
        >>> old = Entry(id=7, account="acct-1", cidr="8.8.8.0/24", label=None, created_at=now, created_by="me")
        >>> new = replace(old, label="office")
        >>> _details_changed(
        ...     Change(sequence=2, at=now, actor="me", account="acct-1", action="edit", before=(old,), after=(new,))
        ... )
        ' (label: office)'
    """
    after = {entry.id: entry for entry in change.after}
    pairs = [(old, after[old.id]) for old in change.before if old.id in after]
    said = []
    for detail in DETAILS:
        words = {detail_word(detail, new) for old, new in pairs if (_of(detail, old) != _of(detail, new))}
        if words:
            said.append(
                f"{detail.title.lower()}: {(isolated(words.pop()) or 'none') if len(words) == 1 else 'several'}"
            )
    return f" ({'; '.join(said)})" if said else ""


def _of(detail: Detail, entry: Entry) -> object:
    return getattr(entry, detail.name)


def _some(cidrs: list[str]) -> str:
    """Return the first few of the networks, as text."""
    if len(cidrs) <= _NAMED:
        return " and ".join([", ".join(cidrs[:-1]), cidrs[-1]] if len(cidrs) > 1 else cidrs)
    return f"{', '.join(cidrs[:_NAMED])} and {len(cidrs) - _NAMED} more"
