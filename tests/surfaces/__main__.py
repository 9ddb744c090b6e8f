"""`make surfaces`: writes the snapshots of the public surfaces, and says what CHANGELOG.md needs."""

from __future__ import annotations

from tests.surfaces.snapshots import CHANGELOG, SURFACES, section_of_coming_version, undeclared


def main() -> None:
    """Write the snapshots."""
    for surface in SURFACES:
        before, now = surface.agreed(), surface.now()
        if before != now:
            surface.file.write_text(now)
            print(f"{surface.title}: {'written' if before else 'new'}")
    changelog = CHANGELOG.read_text()
    open_ones = undeclared(changelog)
    if not open_ones:
        print("CHANGELOG.md knows every surface as it is")
        return
    title, _ = section_of_coming_version(changelog)
    print(f"In CHANGELOG.md, under {title}, say what changes for users. Then put this into its comment `surfaces`:")
    for surface in open_ones:
        print(f"{surface.name} {surface.digest()}")


if __name__ == "__main__":
    main()
