"""The public surfaces are those that were agreed: each change of one is seen, accepted and in the changelog."""

from __future__ import annotations

import pytest

from tests.surfaces.snapshots import CHANGELOG, SURFACES, Surface, section_of_coming_version, undeclared

HOW = (
    "If users are to get this change: run `make surfaces`, and say under the coming version in CHANGELOG.md what it "
    "means for them. Otherwise take the change back: a name that is public cannot change unseen."
)


@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: surface.name)
def test_a_surface_is_the_one_that_was_agreed(surface: Surface) -> None:
    difference = surface.difference()
    assert not difference, f"The {surface.title} changed ({surface.file.name}). {HOW}\n{difference}"


def test_the_changelog_knows_every_surface() -> None:
    changelog = CHANGELOG.read_text()
    open_ones = undeclared(changelog)
    if open_ones:
        title, _ = section_of_coming_version(changelog)
        pytest.fail(
            f"CHANGELOG.md does not know what changed in: {', '.join(one.title for one in open_ones)}. Say under "
            f"{title} what it means for users, and put what `make surfaces` prints into the comment `surfaces`"
        )


def test_a_changed_surface_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    surface = SURFACES[0]
    now = surface.now()
    monkeypatch.setattr(
        Surface, "now", lambda self: now.replace("cidrgate.Account.name: str", "cidrgate.Account.title: str")
    )
    assert "-cidrgate.Account.name: str\n+cidrgate.Account.title: str" in surface.difference()


def test_a_snapshot_that_the_changelog_does_not_know_is_seen() -> None:
    changelog = CHANGELOG.read_text()
    for surface in SURFACES:
        assert undeclared(changelog.replace(surface.digest(), "0" * 12)) == [surface]
    assert undeclared("# Changes\n\n## 0.1.0 (unreleased)\n") == list(SURFACES)


def test_a_change_after_a_release_belongs_into_a_new_section() -> None:
    with pytest.raises(ValueError, match="no section of the coming version"):
        section_of_coming_version("# Changes\n\n## 0.1.0 (2026-03-01)\n\n- all\n")
