"""The applications of the how-to pages, run as the pages show them."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import pytest

from cidrgate import Policy, RuleManager
from tests.docs.pages import ROOT
from tests.servers.requests import ask
from tests.servers.running import free_port, running

if TYPE_CHECKING:
    from pathlib import Path

KEY = ("X-Api-Key", "key-of-acct-1")


def shown(page: str) -> list[str]:
    """The blocks of Python of a page, without those that are run as examples."""
    text = (ROOT / "docs" / page).read_text()
    return [code for code in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL) if ">>>" not in code]


def test_the_application_for_litestar_allows_and_denies(tmp_path: Path) -> None:
    pytest.importorskip("litestar", reason="needs Litestar: pip install litestar")
    [code] = shown("howto/litestar.md")
    (tmp_path / "app.py").write_text(code)
    with RuleManager.open(tmp_path / "lists.db", policy=Policy(allow_special=True), create=True) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "127.0.0.2/32")
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "app:app", "--no-proxy-headers", "--port", str(port)]
    with running(command, tmp_path, port):
        assert ask(port, "127.0.0.2", [KEY], path="/v1/calls").status == 200
        assert ask(port, "127.0.0.3", [KEY], path="/v1/calls").status == 403
        assert ask(port, "127.0.0.3", [KEY, ("X-Forwarded-For", "127.0.0.2")], path="/v1/calls").status == 403
        for key in ([("X-Api-Key", "unknown")], []):  # of no account
            assert ask(port, "127.0.0.2", key, path="/v1/calls").status == 403
        assert ask(port, "127.0.0.3", [], path="/healthz").status == 200


def test_the_view_for_rest_framework_is_one() -> None:
    pytest.importorskip("rest_framework", reason="needs Django REST framework: pip install djangorestframework")
    from tests.middleware import django_project

    assert django_project.urlpatterns
    view = next(code for code in shown("howto/drf.md") if "APIView" in code)
    namespace: dict[str, object] = {"__name__": "views"}
    exec(view, namespace)
    calls: type = namespace["Calls"]  # type: ignore[assignment]
    assert [one.__name__ for one in calls.permission_classes] == ["IsAuthenticated", "Allowlisted"]  # type: ignore[attr-defined]
