"""The examples in the engine's docstrings."""

from __future__ import annotations

import doctest

from cidrgate import Matcher, PrefixTrie, _engine


def test_the_examples_in_docstrings_run() -> None:
    failed, attempted = doctest.testmod(_engine)
    assert failed == 0
    assert attempted > 5


def test_the_examples_of_exported_types_run() -> None:
    """They are of the module `cidrgate`, so a search of the engine passes them over."""
    for exported in (Matcher, PrefixTrie):
        tests = doctest.DocTestFinder(recurse=False).find(exported, globs={exported.__name__: exported})
        assert sum(len(test.examples) for test in tests) >= 2
        for test in tests:
            assert doctest.DocTestRunner().run(test).failed == 0
