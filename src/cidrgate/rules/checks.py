"""The rules, each a row of one table, and the three validations that use them: pure functions on values.

A validation checks a whole submission and reports all its problems at once. Each submitted entry is checked against the
listed entries and against the earlier entries of the submission that are CIDRs, even if those have other problems.

To add a rule, write a function of a `Piece` and a `Policy` and a row of `RULES`. Its option is a field of `Policy`.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING

from cidrgate._engine import PlainLists, PrefixTrie, canonical_prefix
from cidrgate.errors import InvalidAddressError, Problem, RuleError
from cidrgate.rules.format_hints import format_hint
from cidrgate.rules.limits import LONGEST_PIECE, MOST_CONFLICTS, MOST_PROBLEMS, beginning_of, some_of
from cidrgate.rules.special_ranges import IPV4_MAPPED, SPECIAL_RANGES, special_blocks
from cidrgate.rules.submission import too_many_pieces
from cidrgate.values import NewEntry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cidrgate.errors import ProblemCode
    from cidrgate.rules.format_hints import Alternative
    from cidrgate.rules.policy import Policy

__all__ = [
    "RULES",
    "RULE_OF_CODE",
    "Piece",
    "Rule",
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
    """The networks that a submitted entry is compared with: listed entries, and submitted ones by first position.

    A network that a hint suggests is compared with all of them, and with those that earlier hints suggest.
    """

    def __init__(self, existing: Sequence[str], cidrs: Sequence[str | None]) -> None:
        self.first: dict[str, int] = dict.fromkeys(existing, _LISTED)
        for position, cidr in enumerate(cidrs):
            if cidr is not None:
                self.first.setdefault(cidr, position)
        self.trie = PrefixTrie(self.first)

    def before(self, position: int, networks: Sequence[str], cidr: str) -> tuple[str, ...]:
        """Return those of `networks`, except `cidr` itself, that are before a position."""
        return tuple(network for network in networks if network != cidr and self.first[network] < position)

    def is_before(self, position: int, cidr: str) -> bool:
        """Return whether the same network is before a position."""
        return self.first.get(cidr, position) < position


@dataclass(frozen=True, slots=True)
class Piece:
    """One network of a submission, as the rules see it.

    Attributes:
        text: As it was submitted.
        position: Its place in the submission, from 0.
        cidr: Its canonical text.
        earlier: What it is compared with.
    """

    text: str
    position: int
    cidr: str
    earlier: _Earlier

    def problem(self, code: ProblemCode, conflicts: Sequence[str], hint: str) -> Problem:
        """Return a problem of it, with the first `MOST_CONFLICTS` of its conflicts."""
        left = max(0, len(conflicts) - MOST_CONFLICTS)
        return Problem(
            code=code,
            text=self.text,
            position=self.position,
            conflicts=tuple(conflicts[:MOST_CONFLICTS]),
            hint=hint,
            more_conflicts=left,
        )


def _check_special(piece: Piece, _policy: Policy) -> Problem | None:
    if ":" in piece.text and ":" not in piece.cidr:
        unmapped = special_blocks(piece.cidr)
        way_out = (
            f"its IPv4 form {piece.cidr} is not allowed either: it contains {unmapped[0].name} ({unmapped[0].rfc})"
            if unmapped
            else f"write the IPv4 network {piece.cidr}"
        )
        hint = f"{IPV4_MAPPED.name} ({IPV4_MAPPED.rfc}): {way_out}"
        return piece.problem("special_range", [IPV4_MAPPED.cidr], hint)
    blocks = special_blocks(piece.cidr)
    if not blocks:
        return None
    names = f"{blocks[0].cidr} is {blocks[0].name} ({blocks[0].rfc})"
    others = f", and the network contains {len(blocks) - 1} more such blocks" if len(blocks) > 1 else ""
    hint = f"{names}{others}; list the public addresses that your requests come from"
    return piece.problem("special_range", [block.cidr for block in blocks], hint)


def _check_duplicate(piece: Piece, _policy: Policy) -> Problem | None:
    if not piece.earlier.is_before(piece.position, piece.cidr):
        return None
    where = "already listed" if piece.earlier.first[piece.cidr] == _LISTED else "already in this submission"
    return piece.problem("duplicate_entry", [piece.cidr], f"{piece.cidr} is {where}: leave it out")


def _check_subset(piece: Piece, _policy: Policy) -> Problem | None:
    wider = piece.earlier.before(piece.position, piece.earlier.trie.covering(piece.cidr), piece.cidr)
    if not wider:
        return None
    hint = f"{wider[0]} already covers these addresses: leave this entry out, or remove {wider[0]} first"
    return piece.problem("subset_exists", wider, hint)


def _check_superset(piece: Piece, _policy: Policy) -> Problem | None:
    narrower = piece.earlier.before(piece.position, piece.earlier.trie.covered(piece.cidr), piece.cidr)
    if not narrower:
        return None
    hint = f"remove {some_of(narrower, _MOST_NAMED)} first, or replace the list in one change"
    return piece.problem("superset_conflict", narrower, hint)


def _check_limit(pieces: Sequence[NewEntry], positions: Sequence[int], present: int, most: int) -> Problem | None:
    """The problem of a submission with which the account would hold too many; positions are those that would count."""
    if not positions or present + len(positions) <= most:
        return None
    position = positions[max(0, most - present)]
    hint = (
        f"the account has {present} of at most {most} entries, and this submission adds {len(positions)}: "
        "remove some entries, or list wider networks"
    )
    return Problem(code="limit_reached", text=beginning_of(pieces[position].cidr), position=position, hint=hint)


def _always(_policy: Policy) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of the lists.

    Attributes:
        code: What a `Problem` of it is called.
        title: The same for people, in a few words.
        when: What breaks it.
        told: What the hint of a problem says.
        check: The problem of a piece that breaks it, or None. None for a rule that looks at texts which are no
            networks, or at the submission as a whole; `_validate` asks these in their place.
        applies: Whether a policy asks for it.
        in_engine: Whether `PlainLists` accepts no list that breaks it. Any other rule is checked after it.
        repeats: Whether a piece that breaks it stands for an entry that is there: it takes no place of its own, and no
            rule after it is asked.
        can_give_way: Whether the conflicts are entries that could be removed for it.
        can_leave_out: Whether the rest of the submission can do without the piece.
    """

    code: ProblemCode
    title: str
    when: str
    told: str
    check: Callable[[Piece, Policy], Problem | None] | None
    applies: Callable[[Policy], bool] = _always
    in_engine: bool = False
    repeats: bool = False
    can_give_way: bool = False
    can_leave_out: bool = True


RULES = (
    Rule(
        "invalid_format",
        "Not a network yet",
        "the text is not strictly `address/length`: it has host bits, leading zeros, spaces inside, a zone id, or no "
        "length",
        "the canonical form, if there is an obvious one: `203.0.113.5` → `203.0.113.5/32`, `192.168.1.7/24` → "
        "`192.168.1.0/24`",
        None,
        in_engine=True,
    ),
    Rule(
        "special_range",
        "Not publicly reachable",
        "the network overlaps a block of the IANA special-purpose registries that is not globally reachable, or "
        "multicast",
        "the block, its IANA name and its RFC",
        _check_special,
        applies=lambda policy: not policy.allow_special,
        in_engine=True,
    ),
    Rule(
        "duplicate_entry",
        "Already listed",
        "the list already contains the same network, in any spelling",
        "the existing entry",
        _check_duplicate,
        in_engine=True,
        repeats=True,
    ),
    Rule(
        "subset_exists",
        "Already covered",
        "an existing entry already covers the network",
        "the covering entry",
        _check_subset,
        in_engine=True,
    ),
    Rule(
        "superset_conflict",
        "Covers listed entries",
        "the network would cover existing entries",
        "every entry to remove first",
        _check_superset,
        in_engine=True,
        can_give_way=True,
    ),
    Rule(
        "limit_reached",
        "The list is full",
        "the account would have more entries than `Policy.max_entries`",
        "the number of entries now, and the number submitted",
        None,
        in_engine=True,
        can_leave_out=False,
    ),
)
"""Every rule, in the order in which a piece's problems are listed."""

RULE_OF_CODE: dict[str, Rule] = {rule.code: rule for rule in RULES}

_OF_PIECES = tuple((rule, rule.check) for rule in RULES if rule.check is not None)
_AFTER_ENGINE = tuple((rule, check) for rule, check in _OF_PIECES if not rule.in_engine)


class _Suggestions:
    """Finds for a text that is no CIDR what the list would accept instead.

    Args:
        earlier: The list and the submission.
        end: The position after the last one.
        policy: The limits.
        places: How many more entries the list may have after the submission.
    """

    def __init__(self, earlier: _Earlier, end: int, policy: Policy, places: int) -> None:
        self._earlier = earlier
        self._end = end
        self._policy = policy
        self._places = places
        self._suggested: list[tuple[int, int, int, str]] = []
        """Networks that are suggested for earlier texts, in order: version, first address, last address, CIDR."""

    def problem(self, text: str, position: int) -> Problem:
        """Return the problem of a text that is no CIDR."""
        if len(text) > LONGEST_PIECE:
            hint = (
                f"this text has {len(text):,} characters; at most {LONGEST_PIECE} are allowed: "
                "separate networks with commas"
            )
            return Problem(code="invalid_format", text=beginning_of(text), position=position, hint=hint)
        hint, accepted = format_hint(text).checked(self._refusal)
        if accepted:
            self._suggest(accepted[0].networks)
        suggestions = tuple(one.text for one in accepted)
        return Problem(code="invalid_format", text=text, position=position, hint=hint, suggestions=suggestions)

    def _refusal(self, alternative: Alternative) -> str:
        more = len(alternative.networks) - 1
        for cidr in alternative.networks:
            piece = Piece(cidr, self._end, cidr, self._earlier)
            for rule, check in _OF_PIECES:
                problem = check(piece, self._policy) if rule.applies(self._policy) else None
                if problem is not None:
                    return problem.hint
            meets = self._meets(cidr)
            if meets is not None:
                return f"it overlaps {meets}, which is suggested for an earlier entry: leave this entry out"
        if more and more > self._places:
            return f"these are {more + 1} entries, which is more than the list may have: list wider networks"
        return ""

    def _suggest(self, cidrs: Sequence[str]) -> None:
        for cidr in cidrs:
            insort(self._suggested, _span(cidr))
        self._places -= len(cidrs) - 1

    def _meets(self, cidr: str) -> str | None:
        """Return the network suggested before that overlaps another one. None of those overlap each other."""
        version, first, last, _ = _span(cidr)
        after = bisect_right(self._suggested, (version, last, 2**128, ""))
        nearest = self._suggested[after - 1] if after else None
        return nearest[3] if nearest and nearest[0] == version and nearest[2] >= first else None


def _span(cidr: str) -> tuple[int, int, int, str]:
    network = ip_network(cidr)
    return network.version, int(network.network_address), int(network.broadcast_address), cidr


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
        new = plain[len(existing) :]
        checks = [check for rule, check in _AFTER_ENGINE if rule.applies(policy)]
        if not checks or _passes(checks, pieces, new, policy):
            return new
    if len(pieces) > policy.most_pieces:
        raise too_many_pieces(pieces[policy.most_pieces].cidr, policy.most_pieces)
    cidrs = [_canonical(piece.cidr) for piece in pieces]
    earlier = _Earlier(existing, cidrs)
    found = _Found()
    counted: list[int] = []
    for position, (piece, cidr) in enumerate(zip(pieces, cidrs, strict=True)):
        if cidr is None:
            counted.append(position)
            found.add(Problem(code="invalid_format", text=piece.cidr, position=position))
            continue
        looked_at = Piece(piece.cidr, position, cidr, earlier)
        for rule, check in _OF_PIECES:
            problem = check(looked_at, policy) if rule.applies(policy) else None
            found.add(problem)
            if problem is not None and rule.repeats:
                break
        else:
            counted.append(position)
    # The hints come last, because what they suggest must fit beside the whole submission.
    suggestions = _Suggestions(earlier, len(pieces), policy, max_entries - len(existing) - len(counted))
    found.problems = [
        suggestions.problem(one.text, one.position) if one.code == "invalid_format" else one for one in found.problems
    ]
    limit = _check_limit(pieces, counted, len(existing), max_entries)
    problems = found.problems if limit is None else [*found.problems, limit]
    if problems:
        raise RuleError(sorted(problems, key=lambda problem: problem.position), more=found.more)
    return [cidr for cidr in cidrs if cidr is not None]


def _passes(
    checks: Sequence[Callable[[Piece, Policy], Problem | None]],
    pieces: Sequence[NewEntry],
    cidrs: Sequence[str],
    policy: Policy,
) -> bool:
    """Whether pieces that the engine accepts keep the rules that it does not know."""
    earlier = _Earlier((), cidrs)
    looked_at = (Piece(piece.cidr, *rest, earlier) for piece, rest in zip(pieces, enumerate(cidrs), strict=True))
    return all(check(piece, policy) is None for piece in looked_at for check in checks)


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
        raise RuleError([Problem(code="invalid_format", text="", position=0, hint=str(format_hint("")))])
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
