"""The limits are those that the documentation names."""

from __future__ import annotations

import re
from pathlib import Path

from cidrgate import Policy
from cidrgate.foresight.evaluation import MOST_NAMED
from cidrgate.manager import previews
from cidrgate.rules import limits as rules
from cidrgate.service.http import limits

PAGE = Path(__file__).parents[2] / "docs" / "service.md"
ROW = re.compile(r"^\| [^|]+ \| ([^|]+) \| `(\w+)` \|", re.MULTILINE)


def test_the_page_has_every_limit_with_its_number() -> None:
    told = {name: text for text, name in ROW.findall(PAGE.read_text())}
    known = {name: getattr(limits, name) for name in limits.__all__}
    known |= {"MOST_PROBLEMS": rules.MOST_PROBLEMS, "MOST_NETWORKS": previews.MOST_NETWORKS, "MOST_NAMED": MOST_NAMED}
    assert set(told) == {*known, "most_pieces"}
    for name, number in known.items():
        assert told[name].split(", ")[0] == f"{number:,g}" or told[name].startswith(f"{number:,}"), name


def test_large_lists_may_be_submitted_where_the_policy_allows_them() -> None:
    assert Policy(max_entries=100_000).most_pieces == 1_000_000
    assert Policy().most_pieces == 500
