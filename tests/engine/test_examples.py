"""The examples in the engine's docstrings."""

from __future__ import annotations

import doctest

from cidrgate import _engine


def test_the_examples_in_docstrings_run() -> None:
    failed, attempted = doctest.testmod(_engine)
    assert failed == 0
    assert attempted > 5
