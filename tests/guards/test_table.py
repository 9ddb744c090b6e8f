"""Every guard at every edge: {what a change must not do unnoticed} x {library, CLI, API, client, console} x operations.

The operations are those that the edges have: the public methods of the library and the client, the commands, the routes
of the API and the console. One that is not in the tables fails the tests. A cell is either a case that is carried out,
or a sentence that says why the guard cannot be met there; `test_confirmations.py` shows that what these say is so.

Each case shows that the guard refuses, says what to do in the words of its edge, and changes nothing. Where a change
can be confirmed, it shows too that no other confirmation lets it pass, and that its own does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from cidrgate import RuleManager
from cidrgate.manager.outcomes import Guard
from cidrgate.service import create_app
from cidrgate.service.auth.credentials import Credentials
from tests.guards.cases import CALLER, GUARDS, a_world
from tests.guards.edges import EDGES, PROBLEMS, Programs, Rest
from tests.guards.operations import COMMANDS, LIBRARY, METHODS, PAGES, ROUTES, changing, commands, public
from tests.service.test_console_access import ROUTES as CONSOLE_ROUTES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.guards.cases import Case, World
    from tests.guards.edges import Edge


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with a_world(tmp_path / "lists.db") as world:
        yield world


def test_every_operation_of_every_edge_has_a_row() -> None:
    with RuleManager.open("memory://") as manager:
        routes = changing(create_app(manager))
    assert public(RuleManager, Credentials) == LIBRARY.keys()
    assert commands() == COMMANDS.keys()
    assert routes.keys() == ROUTES.keys()
    assert set(routes.values()) == METHODS.keys()
    assert {path for method, path in CONSOLE_ROUTES if method != "GET"} == {
        path for path in PAGES if path != "/link/{secret}" or ("POST", path) in CONSOLE_ROUTES
    }


def cells() -> tuple[list[Any], dict[tuple[str, str, str, str], str]]:
    """The cells to be tried, and why the others cannot be."""
    tried: list[Any] = []
    excused: dict[tuple[str, str, str, str], str] = {}
    for name, edge in EDGES.items():
        for row, operations in edge.rows.items():
            for guard, cases in GUARDS.items():
                if isinstance(operations, str):
                    excused[name, row, guard, ""] = operations
                    continue
                for what in operations:
                    case = cases(what)
                    reason = case if isinstance(case, str) else edge.excuse(guard, what)
                    if (row, guard) == ("/list/enable", Guard.WIDE_ENTRY):
                        reason = "its networks are listed already"
                    if reason is None:
                        assert not isinstance(case, str)
                        tried.append(pytest.param(edge, row, guard, case, id=f"{guard}-{name}-{row}-{what}"))
                    else:
                        excused[name, row, guard, what] = reason
    return tried, excused


TRIED, EXCUSED = cells()


@pytest.mark.parametrize(("edge", "row", "guard", "case"), TRIED)
def test_a_guard_at_an_edge(world: World, edge: Edge, row: str, guard: str, case: Case) -> None:
    asked, before = case(world), world.everything()
    refused = edge.ask(world, row, asked)
    assert refused is not None, "it passed silently"
    assert re.search(edge.says[guard], refused.told), refused.told
    assert world.everything() == before
    if isinstance(edge, Rest | Programs):
        assert refused.told.startswith(f"{PROBLEMS[guard]}: ")
    if guard not in tuple(Guard):
        assert refused.confirm == ()
        # No confirmation is good for what is no question.
        every = [guard.value for guard in Guard]
        assert edge.ask(world, row, asked, every) is not None
        assert world.everything() == before
        return
    assert refused.confirm == (guard,), "all that is needed is named, and no more"
    for wrong in edge.wrong[guard]:
        again = edge.ask(world, row, asked, wrong)
        assert again is not None, f"{wrong} confirmed {guard}"
        assert world.everything() == before
    assert edge.ask(world, row, asked, refused.confirm) is None, "what was named lets it pass"
    assert world.everything() != before
    if asked.what in ("rename_account", "delete_account"):
        assert asked.account not in {account.name for account in world.manager.accounts()}
        return
    state = world.manager.list_states([asked.account])[asked.account]
    assert state.enforced == (guard != Guard.DISABLE_ENFORCEMENT)
    if guard == Guard.WIDE_ENTRY:
        return
    if guard == Guard.OTHER_LIST:
        assert not world.manager.explain(asked.account, "9.9.9.9").allowed
        return
    assert world.manager.allows(asked.account, CALLER) == (guard == Guard.DISABLE_ENFORCEMENT)


def test_every_cell_is_tried_or_says_why_not() -> None:
    tried = {(one.values[0], one.values[1], one.values[2]) for one in TRIED}
    for name, edge in EDGES.items():
        for row in edge.rows:
            for guard in GUARDS:
                told = [why for key, why in EXCUSED.items() if key[:3] == (name, row, guard)]
                assert (edge, row, guard) in tried or (told and all(told)), (name, row, guard)
        for guard in GUARDS:
            # The guards that an edge never meets.
            never = [("cli", Guard.LOCK_OUT), ("console", Guard.OTHER_LIST)]
            assert (name, guard) in never or any(one[0] is edge and one[2] == guard for one in tried)
