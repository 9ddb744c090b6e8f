"""The six checks, and the three validations that use them: pure functions on values.

A validation checks a whole submission and reports all its problems at once. Each submitted entry is checked against the
listed entries and against the earlier entries of the submission that are CIDRs, even if those have other problems.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cidrgate._engine import PlainLists, PrefixTrie, canonical_prefix
from cidrgate.errors import InvalidAddressError, Problem, RuleError
from cidrgate.rules.format_hints import format_hint
from cidrgate.rules.limits import LONGEST_PIECE, MOST_CONFLICTS, MOST_PROBLEMS, beginning_of, some_of
from cidrgate.rules.special_ranges import IPV4_MAPPED, SPECIAL_RANGES, special_blocks
from cidrgate.rules.submission import too_many_pieces
from cidrgate.values import NewEntry

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cidrgate.rules.policy import Policy

__all__ = [
    "check_duplicate",
    "check_format",
    "check_limit",
    "check_special",
    "check_subset",
    "check_superset",
    "validate_addition",
    "validate_edit",
    "validate_replacement",
]

_LISTED = -1
_MOST_NAMED = 20
"""The most networks that a hint names."""

_ANYTHING = PlainLists(())
_NOTHING_SPECIAL = PlainLists(
    # A network with IPv4-mapped addresses begins with 64 zero bits; it always takes the slow path.
    [*(block.cidr for block in SPECIAL_RANGES if block is not IPV4_MAPPED), "::/64"]
)
"""Fast checks of a whole list. Nearly every list breaks no rule, and these find this ten times faster than the checks
below."""


class _Earlier:
    """The networks that a submitted entry is compared with: listed entries, and submitted ones by first position."""

    def __init__(self, existing: Sequence[str], cidrs: Sequence[str | None]) -> None:
        self.first: dict[str, int] = dict.fromkeys(existing, _LISTED)
        for position, cidr in enumerate(cidrs):
            if cidr is not None:
                self.first.setdefault(cidr, position)
        self.trie = PrefixTrie(self.first)

    def before(self, position: int, networks: Sequence[str], cidr: str) -> tuple[str, ...]:
        """Return those of `networks`, except `cidr` itself, that are before a position."""
        return tuple(network for network in networks if network != cidr and self.first[network] < position)


def check_format(text: str, position: int) -> str | Problem:
    """Check `invalid_format`: return the canonical text of a CIDR, or the problem."""
    if len(text) > LONGEST_PIECE:
        hint = (
            f"this text has {len(text):,} characters; at most {LONGEST_PIECE} are allowed: "
            "separate networks with commas"
        )
        return Problem("invalid_format", beginning_of(text), position, hint=hint)
    try:
        return canonical_prefix(text)
    except InvalidAddressError:
        return Problem("invalid_format", text, position, hint=format_hint(text))


def check_special(text: str, position: int, cidr: str) -> Problem | None:
    """Check `special_range`: the network contains addresses that are not globally reachable."""
    if ":" in text and ":" not in cidr:
        unmapped = special_blocks(cidr)
        way_out = (
            f"its IPv4 form {cidr} is not allowed either: it contains {unmapped[0].name} ({unmapped[0].rfc})"
            if unmapped
            else f"write the IPv4 network {cidr}"
        )
        hint = f"{IPV4_MAPPED.name} ({IPV4_MAPPED.rfc}): {way_out}"
        return Problem("special_range", text, position, (IPV4_MAPPED.cidr,), hint)
    blocks = special_blocks(cidr)
    if not blocks:
        return None
    names = f"{blocks[0].cidr} is {blocks[0].name} ({blocks[0].rfc})"
    others = f", and the network contains {len(blocks) - 1} more such blocks" if len(blocks) > 1 else ""
    hint = f"{names}{others}; list the public addresses that your requests come from"
    return Problem("special_range", text, position, tuple(block.cidr for block in blocks), hint)


def check_duplicate(text: str, position: int, cidr: str, first: Mapping[str, int]) -> Problem | None:
    """Check `duplicate_entry`: the same network is before it; `first` maps networks to their positions."""
    if first[cidr] >= position:
        return None
    where = "already listed" if first[cidr] == _LISTED else "already in this submission"
    return Problem("duplicate_entry", text, position, (cidr,), f"{cidr} is {where}: leave it out")


def check_subset(text: str, position: int, wider: Sequence[str]) -> Problem | None:
    """Check `subset_exists`: earlier networks cover it."""
    if not wider:
        return None
    hint = f"{wider[0]} already allows these addresses: leave this entry out, or remove {wider[0]} first"
    return _conflict("subset_exists", text, position, wider, hint)


def check_superset(text: str, position: int, narrower: Sequence[str]) -> Problem | None:
    """Check `superset_conflict`: it would cover earlier networks."""
    if not narrower:
        return None
    hint = f"remove {some_of(tuple(narrower), _MOST_NAMED)} first, or replace the list in one change"
    return _conflict("superset_conflict", text, position, narrower, hint)


def _conflict(code: str, text: str, position: int, networks: Sequence[str], hint: str) -> Problem:
    left = max(0, len(networks) - MOST_CONFLICTS)
    return Problem(code, text, position, tuple(networks[:MOST_CONFLICTS]), hint, left)


def check_limit(pieces: Sequence[NewEntry], positions: Sequence[int], present: int, max_entries: int) -> Problem | None:
    """Check `limit_reached`: too many entries. `positions` are those of the submitted entries that would be added."""
    if not positions or present + len(positions) <= max_entries:
        return None
    position = positions[max(0, max_entries - present)]
    hint = (
        f"the account has {present} of at most {max_entries} entries, and this submission adds {len(positions)}: "
        "remove some entries, or list wider networks"
    )
    return Problem("limit_reached", beginning_of(pieces[position].cidr), position, hint=hint)


class _Found:
    """The problems of a submission: the first `MOST_PROBLEMS` problems, and the number of the others."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.more = 0

    def add(self, problem: Problem | None) -> None:
        if problem is None:
            return
        if self.full:
            self.more += 1
        else:
            self.problems.append(problem)

    @property
    def full(self) -> bool:
        return len(self.problems) >= MOST_PROBLEMS


def _validate(pieces: Sequence[NewEntry], existing: Sequence[str], policy: Policy, max_entries: int) -> list[str]:
    """Return the canonical CIDRs of a submission, or raise all its problems at once."""
    lists = _ANYTHING if policy.allow_special else _NOTHING_SPECIAL
    plain = lists.canonical([*existing, *[piece.cidr for piece in pieces]], max_entries)
    if plain is not None:
        return plain[len(existing) :]
    if len(pieces) > policy.most_pieces:
        raise too_many_pieces(pieces[policy.most_pieces].cidr, policy.most_pieces)
    cidrs = [_canonical(piece.cidr) for piece in pieces]
    earlier = _Earlier(existing, cidrs)
    found = _Found()
    counted: list[int] = []
    for position, (piece, cidr) in enumerate(zip(pieces, cidrs, strict=True)):
        text = piece.cidr
        if cidr is None:
            counted.append(position)
            if found.full:
                found.more += 1
            elif isinstance(problem := check_format(text, position), Problem):
                found.add(problem)
            continue
        if not policy.allow_special:
            found.add(check_special(text, position, cidr))
        duplicate = check_duplicate(text, position, cidr, earlier.first)
        if duplicate is not None:
            found.add(duplicate)
            continue
        counted.append(position)
        found.add(check_subset(text, position, earlier.before(position, earlier.trie.covering(cidr), cidr)))
        found.add(check_superset(text, position, earlier.before(position, earlier.trie.covered(cidr), cidr)))
    limit = check_limit(pieces, counted, len(existing), max_entries)
    problems = found.problems if limit is None else [*found.problems, limit]
    if problems:
        raise RuleError(sorted(problems, key=lambda problem: problem.position), found.more)
    return [cidr for cidr in cidrs if cidr is not None]


def _canonical(text: str) -> str | None:
    """Return the canonical text of a CIDR, or None if the text is not a CIDR or is too long."""
    if len(text) > LONGEST_PIECE:
        return None
    try:
        return canonical_prefix(text)
    except InvalidAddressError:
        return None


def validate_addition(pieces: Sequence[NewEntry], existing: Sequence[str], policy: Policy) -> list[str]:
    """Check entries that are to be added to a list.

    Args:
        pieces: The submitted entries, from `split_submission`.
        existing: Canonical CIDRs of the list.
        policy: The limits.

    Returns:
        Canonical CIDRs, one for each submitted entry, in the same order.

    Raises:
        RuleError: With every problem of the submission. An empty submission has the problem `invalid_format`.

    Example:
        >>> from cidrgate.rules import Policy, split_submission
        >>> validate_addition(split_submission("8.8.8.0/24, 2606:4700:0::/32"), [], Policy())
        ['8.8.8.0/24', '2606:4700::/32']
        >>> try:
        ...     validate_addition(split_submission("8.8.8.8, 8.8.0.0/16"), ["8.8.8.0/24"], Policy())
        ... except RuleError as error:
        ...     [(problem.code, problem.position, problem.conflicts) for problem in error.problems]
        [('invalid_format', 0, ()), ('superset_conflict', 1, ('8.8.8.0/24',))]
    """
    if not pieces:
        raise RuleError([Problem("invalid_format", "", 0, hint=format_hint(""))])
    return _validate(pieces, existing, policy, policy.max_entries)


def validate_replacement(pieces: Sequence[NewEntry], policy: Policy) -> list[str]:
    """Check entries that are to replace a whole list. An empty submission is valid and makes the list empty.

    Args:
        pieces: The submitted entries, from `split_submission`.
        policy: The limits.

    Returns:
        Canonical CIDRs, one for each submitted entry, in the same order.

    Raises:
        RuleError: With every problem of the submission.

    Example:
        >>> from cidrgate.rules import Policy, split_submission
        >>> validate_replacement(split_submission("9.9.9.0/24, 8.8.8.0/24"), Policy(max_entries=2))
        ['9.9.9.0/24', '8.8.8.0/24']
        >>> validate_replacement([], Policy())
        []
    """
    return _validate(pieces, (), policy, policy.max_entries)


def validate_edit(text: str, others: Sequence[str], policy: Policy) -> str:
    """Check a CIDR that is to replace one entry.

    Args:
        text: The submitted CIDR.
        others: Canonical CIDRs of the list, without the edited entry.
        policy: The limits. An edit adds no entry, so `max_entries` is not checked.

    Returns:
        The canonical CIDR.

    Raises:
        RuleError: With every problem of the submission.

    Example:
        >>> from cidrgate.rules import Policy
        >>> validate_edit("2606:4700:0:0::/32", ["8.8.8.0/24"], Policy())
        '2606:4700::/32'
    """
    return _validate([NewEntry(text.strip())], others, policy, len(others) + 1)[0]
