"""Pictures of the console: `python -m tests.console.pictures FOLDER` for every page, `--readme` for the README's."""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.console.a_console import DESKTOP, PHONE, Visitors, a_browser, a_console
from tests.console.scenes import SCENES, furnish

_README = {
    "console-list": "list",
    "console-add": "add-problems",
    "console-delete-in-use": "delete-in-use",
    "console-recommendation": "recommendation-few",
}


def main() -> None:
    """Take them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--readme", action="store_true", help="only those of the README, small")
    parser.add_argument("scenes", nargs="*", help="only these pages")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    with a_browser() as browser:
        if asked.readme:
            for file, scene in _README.items():
                _take(Visitors(browser), scene, asked.folder / f"{file}.png", width=DESKTOP, dark=False, whole=False)
            return
        for scene in asked.scenes or SCENES:
            for kind, width, dark in (("light", DESKTOP, False), ("dark", DESKTOP, True), ("phone", PHONE, True)):
                path = asked.folder / f"{scene}-{kind}.png"
                _take(Visitors(browser), scene, path, width=width, dark=dark, whole=width == PHONE)


def _take(visitors: Visitors, scene: str, path: Path, *, width: int, dark: bool, whole: bool) -> None:
    with a_console("memory://") as console:
        furnish(console)
        page = visitors.person(console, width=width, dark=dark)
        SCENES[scene](page)
        page.screenshot(path=path, full_page=whole)
        visitors.close()


if __name__ == "__main__":
    main()
