"""The six checks, and the three validations made of them: pure functions on values.

A validation looks at a whole submission and reports every problem of it at once. Each piece is checked against the
entries that are listed and against the pieces before it that are CIDRs, whatever else is wrong with those.
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
"""How many networks a hint names."""

_ANYTHING = PlainLists(())
_NOTHING_SPECIAL = PlainLists(
    # What holds IPv4-mapped addresses begins with 64 zero bits, and is looked at closely.
    [*(block.cidr for block in SPECIAL_RANGES if block is not IPV4_MAPPED), "::/64"]
)
"""Nearly every list breaks no rule at all, which takes a tenth of the time to see that the checks below take."""


class _Earlier:
    """The networks a piece is compared with: entries already listed, and pieces by their first position."""

    def __init__(self, existing: Sequence[str], cidrs: Sequence[str | None]) -> None:
        self.first: dict[str, int] = dict.fromkeys(existing, _LISTED)
        for position, cidr in enumerate(cidrs):
            if cidr is not None:
                self.first.setdefault(cidr, position)
        self.trie = PrefixTrie(self.first)

    def before(self, position: int, networks: Sequence[str], cidr: str) -> tuple[str, ...]:
        """Those of `networks`, but for `cidr` itself, that stand before a position."""
        return tuple(network for network in networks if network != cidr and self.first[network] < position)


def check_format(text: str, position: int) -> str | Problem:
    """`invalid_format`: the canonical text of a CIDR, or the problem with it."""
    if len(text) > LONGEST_PIECE:
        hint = (
            f"this has {len(text):,} characters, more than the {LONGEST_PIECE} that are read: "
            "separate networks with commas"
        )
        return Problem("invalid_format", beginning_of(text), position, hint=hint)
    try:
        return canonical_prefix(text)
    except InvalidAddressError:
        return Problem("invalid_format", text, position, hint=format_hint(text))


def check_special(text: str, position: int, cidr: str) -> Problem | None:
    """`special_range`: the network holds addresses that are not globally reachable."""
    if ":" in text and ":" not in cidr:
        unmapped = special_blocks(cidr)
        way_out = (
            f"{cidr}, its IPv4 form, is no way out: it holds {unmapped[0].name} ({unmapped[0].rfc})"
            if unmapped
            else f"write the IPv4 network {cidr}"
        )
        hint = f"{IPV4_MAPPED.name} ({IPV4_MAPPED.rfc}): {way_out}"
        return Problem("special_range", text, position, (IPV4_MAPPED.cidr,), hint)
    blocks = special_blocks(cidr)
    if not blocks:
        return None
    names = f"{blocks[0].cidr} is {blocks[0].name} ({blocks[0].rfc})"
    others = f", and {len(blocks) - 1} more such blocks are inside" if len(blocks) > 1 else ""
    hint = f"{names}{others}; list the public addresses your calls come from"
    return Problem("special_range", text, position, tuple(block.cidr for block in blocks), hint)


def check_duplicate(text: str, position: int, cidr: str, first: Mapping[str, int]) -> Problem | None:
    """`duplicate_entry`: the same network stands before; `first` maps networks to their positions."""
    if first[cidr] >= position:
        return None
    where = "listed already" if first[cidr] == _LISTED else "in this submission already"
    return Problem("duplicate_entry", text, position, (cidr,), f"{cidr} is {where}: leave it out")


def check_subset(text: str, position: int, wider: Sequence[str]) -> Problem | None:
    """`subset_exists`: networks before it cover it."""
    if not wider:
        return None
    hint = f"{wider[0]} allows these addresses already: leave it out, or remove {wider[0]} first"
    return _conflict("subset_exists", text, position, wider, hint)


def check_superset(text: str, position: int, narrower: Sequence[str]) -> Problem | None:
    """`superset_conflict`: it would cover networks before it."""
    if not narrower:
        return None
    hint = f"remove {some_of(tuple(narrower), _MOST_NAMED)} first, or replace the list in one change"
    return _conflict("superset_conflict", text, position, narrower, hint)


def _conflict(code: str, text: str, position: int, networks: Sequence[str], hint: str) -> Problem:
    left = max(0, len(networks) - MOST_CONFLICTS)
    return Problem(code, text, position, tuple(networks[:MOST_CONFLICTS]), hint, left)


def check_limit(pieces: Sequence[NewEntry], positions: Sequence[int], present: int, max_entries: int) -> Problem | None:
    """`limit_reached`: the account would hold too many; `positions` are those of the pieces that would count."""
    if not positions or present + len(positions) <= max_entries:
        return None
    position = positions[max(0, max_entries - present)]
    hint = (
        f"the account has {present} of at most {max_entries} entries and {len(positions)} were asked for: "
        "remove some, or list wider networks"
    )
    return Problem("limit_reached", beginning_of(pieces[position].cidr), position, hint=hint)


class _Found:
    """The problems of a submission: so many of them as are listed, and the number of the others."""

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
    """The canonical CIDRs of a submission; every problem of it is raised at once."""
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
    """The canonical text of a CIDR; None for text that is none, or longer than any."""
    if len(text) > LONGEST_PIECE:
        return None
    try:
        return canonical_prefix(text)
    except InvalidAddressError:
        return None


def validate_addition(pieces: Sequence[NewEntry], existing: Sequence[str], policy: Policy) -> list[str]:
    """Check pieces that shall be added to a list.

    Args:
        pieces: What was submitted, by `split_submission`.
        existing: Canonical CIDRs of the list.
        policy: The limits.

    Returns:
        Canonical CIDRs, one a piece, in their order.

    Raises:
        RuleError: With every problem there is; an empty submission is one of `invalid_format`.

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
    """Check pieces that shall be a whole list; none make the list empty.

    Args:
        pieces: What was submitted, by `split_submission`.
        policy: The limits.

    Returns:
        Canonical CIDRs, one a piece, in their order.

    Raises:
        RuleError: With every problem there is.

    Example:
        >>> from cidrgate.rules import Policy, split_submission
        >>> validate_replacement(split_submission("9.9.9.0/24, 8.8.8.0/24"), Policy(max_entries=2))
        ['9.9.9.0/24', '8.8.8.0/24']
        >>> validate_replacement([], Policy())
        []
    """
    return _validate(pieces, (), policy, policy.max_entries)


def validate_edit(text: str, others: Sequence[str], policy: Policy) -> str:
    """Check text that shall take the place of one entry.

    Args:
        text: What was submitted: one CIDR.
        others: Canonical CIDRs of the list without the entry that is edited.
        policy: The limits; an edit adds no entry, so `max_entries` does not count.

    Returns:
        The canonical CIDR.

    Raises:
        RuleError: With every problem there is.

    Example:
        >>> from cidrgate.rules import Policy
        >>> validate_edit("2606:4700:0:0::/32", ["8.8.8.0/24"], Policy())
        '2606:4700::/32'
    """
    return _validate([NewEntry(text.strip())], others, policy, len(others) + 1)[0]
