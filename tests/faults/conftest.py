"""Each scenario here belongs to a row of the table in docs/many-nodes.md, and says so."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def rows(request: pytest.FixtureRequest) -> None:
    """Print which rows they are, above what the scenario prints."""
    named = [mark.args[0] for mark in request.node.iter_markers("fault")]
    assert named or request.module.__name__.endswith(".test_table"), "name its row: @pytest.mark.fault"
    print(f"\n{'; '.join(named)}")
