"""The tables that are made from the code are up to date."""

from __future__ import annotations

import pytest

from tests.docs.generated import PAGES, TABLES, outdated
from tests.docs.pages import ROOT


@pytest.mark.parametrize("page", PAGES)
def test_a_page_says_what_the_code_says(page: str) -> None:
    assert page not in outdated(), f"{page} is out of date: `python -m tests.docs.generated` writes it"


def test_each_table_is_on_a_page() -> None:
    text = "".join((ROOT / page).read_text() for page in PAGES)
    for name in TABLES:
        assert text.count(f"<!-- {name} -->") == 1, name
