"""What the site adds to the pages: references made from the code, and links that stay on the site."""

from __future__ import annotations

import re
import runpy
from types import SimpleNamespace

import pytest

from cidrgate import RuleManager
from cidrgate.service import Settings, create_app
from tests.docs.pages import ROOT
from tests.docs.test_words import HELPS

site_pages = SimpleNamespace(**runpy.run_path(str(ROOT / "docs" / "_ext" / "site_pages.py")))


def test_the_reference_has_each_command_with_its_options() -> None:
    reference = site_pages.cli_reference()
    commands = {path for path in HELPS if not any(other.startswith(f"{path} ") for other in HELPS)}
    assert set(re.findall(r"^## (.+)$", reference, re.MULTILINE)) == commands
    assert "| `--unlisted` |" in reference
    assert "| `--database`" not in reference  # an option of every command


def test_the_reference_has_each_operation_and_value_of_the_api() -> None:
    reference = site_pages.rest_reference()
    with RuleManager.open("memory://", follow=False) as manager:
        document = create_app(manager, Settings(authorize=True, unlisted="deny_unknown")).openapi()
    operations = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert set(re.findall(r"^## ([A-Z]+ /.+)$", reference, re.MULTILINE)) == operations
    assert set(re.findall(r"^### (.+)$", reference, re.MULTILINE)) == set(document["components"]["schemas"])


@pytest.mark.parametrize(
    ("link", "on_the_site"),
    [
        ("[the results](../benchmarks/results/edges.md)", "[the results](/measurements/edges.md)"),
        ("[nginx](../examples/nginx)", "[nginx](/howto/nginx.md)"),
        ("[docs/edges.md](../../docs/edges.md#the-account)", "[](/edges.md#the-account)"),
        ("[edges.md](edges.md)", "[](edges.md)"),
        ("[SECURITY.md](../SECURITY.md)", "[](/reporting.md)"),
        ("[deploy/](../deploy/README.md)", "[deploy/](/howto/deploy.md)"),
        ("[elsewhere](https://example.com/a.md)", "[elsewhere](https://example.com/a.md)"),
    ],
)
def test_links_stay_on_the_site(link: str, on_the_site: str) -> None:
    assert site_pages.with_site_links(link) == on_the_site
