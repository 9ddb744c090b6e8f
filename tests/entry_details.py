"""Two values for every detail of an entry, for tests that shall not forget one: the one place that names them all."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from hypothesis import strategies as st

from cidrgate import EntryDetails
from cidrgate.values import DETAILS

VALUES: dict[str, tuple[Any, Any]] = {
    "label": ("office", "home"),
    "expires_at": (datetime(2999, 1, 1, tzinfo=UTC), datetime(2999, 12, 31, 23, 59, 1, tzinfo=UTC)),
    "enabled": (False, True),
}
"""Nothing ends while a test runs."""

assert VALUES.keys() == EntryDetails.__annotations__.keys(), (
    f"give two values for each of {sorted(VALUES.keys() ^ EntryDetails.__annotations__.keys())} "
    "in VALUES of tests/entry_details.py"
)

_NULLABLE = {detail.name for detail in DETAILS if detail.nullable}
_DRAWN = {name: st.sampled_from([None, *values] if name in _NULLABLE else [*values]) for name, values in VALUES.items()}

all_details: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(_DRAWN)
"""What a submission says of an entry; None where it says nothing."""

some_details: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries({}, optional=_DRAWN)
"""What an edit changes."""


def first_values() -> EntryDetails:
    """The first value of every detail."""
    return cast("EntryDetails", {name: values[0] for name, values in VALUES.items()})
