"""What the dialogs of the console say about the requests of the past: everything that the evaluation does not know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html import unescape
from typing import TYPE_CHECKING

import pytest

from cidrgate import RuleManager
from cidrgate.service.console.changing import preview_change
from cidrgate.service.console.pages import _templates
from cidrgate.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cidrgate.service.console.changing import ListEdit

SOON = datetime.now(UTC) + timedelta(hours=1)
LATER = SOON + timedelta(days=9)

CHANGES: dict[str, tuple[ListEdit, list[str]]] = {
    "an entry is removed": (lambda dry: dry.remove("a", "8.8.8.0/24"), ["short_window"]),
    "an entry is added": (lambda dry: dry.add("a", "4.4.4.0/24"), ["short_window"]),
    "an entry gets a label": (lambda dry: dry.edit("a", "8.8.8.0/24", label="office"), []),
    "an entry gets an end": (lambda dry: dry.edit("a", "8.8.8.0/24", expires_at=LATER), ["later"]),
    "a list is not enforced": (lambda dry: dry.remove("reporting", "8.8.8.0/24"), ["later"]),
    "a mode ends earlier": (
        lambda dry: dry.set_mode("reporting", "report_only", until=SOON, confirmed={"disable_enforcement"}),
        ["later"],
    ),
    "an account is deleted": (lambda dry: dry.delete_account("a"), ["short_window", "unlisted"]),
    "an unused account is deleted": (
        lambda dry: dry.delete_account("unused"),
        ["no_traffic", "short_window", "unlisted"],
    ),
    "an unused account is renamed": (
        lambda dry: dry.edit_account("unused", name="other"),
        ["no_traffic", "short_window", "unlisted"],
    ),
}


@pytest.fixture
def manager() -> Iterator[RuleManager]:
    with RuleManager.open("memory://", traffic=Traffic()) as manager:
        for name in ("a", "reporting", "unused"):
            manager.create_account(name)
            manager.add(name, "8.8.8.0/24, 1.1.1.1/32")
        manager.set_mode("reporting", "report_only", until=LATER, confirmed={"disable_enforcement"})
        yield manager


def shown(manager: RuleManager, change: ListEdit) -> tuple[str, list[str], list[str]]:
    """Return what a dialog shows, and the texts and the codes of what is not known."""
    preview = preview_change(manager, change, None)
    template = _templates.get_template("foresight.html")
    text = template.render(icon=lambda name: "", preview=preview, foresight=preview.foresight)
    evaluation = preview.foresight.evaluation
    unknown = () if evaluation is None else evaluation.unknown
    return unescape(text), [one.text for one in unknown], [one.code for one in unknown]


@pytest.mark.parametrize("name", CHANGES)
def test_a_dialog_says_all_that_is_not_known(manager: RuleManager, name: str) -> None:
    change, expected = CHANGES[name]
    manager.allows("a", "8.8.8.8")
    assert manager._recorder is not None
    manager._recorder.store()
    text, unknown, codes = shown(manager, change)
    assert codes == expected
    assert [one for one in unknown if one not in text] == []
    assert bool(text.strip()) == bool(unknown)


@pytest.mark.parametrize("name", CHANGES)
def test_without_traffic_a_dialog_says_so_where_requests_could_be_denied(manager: RuleManager, name: str) -> None:
    change, expected = CHANGES[name]
    text, _, _ = shown(manager, change)
    harmless = name in {"an entry is added", "an entry gets a label"}
    words = "once the mode of a list or an entry ends" if expected == ["later"] else "it is not known who calls"
    assert (words in text) is not harmless
    assert bool(text.strip()) is not harmless
