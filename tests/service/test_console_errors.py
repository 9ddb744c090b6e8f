"""An error in a form of the console is tied to the field that it is about, and to no other."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

import pytest

from tests.observed import store_observed
from tests.service.test_console_forms import sent, sign_in

if TYPE_CHECKING:
    from tests.service.conftest import Api

_LONG = "x" * 300

WRONG = [
    ("accounts/new", {"name": ""}, "name"),
    ("accounts/new", {"name": "acct-1"}, "name"),
    ("accounts/new", {"name": "new", "parent": "nobody"}, "parent"),
    ("accounts/new", {"name": "new", "parent": "sub"}, "parent"),
    ("accounts/new", {"name": "new", "display_name": _LONG}, "display_name"),
    ("accounts/edit", {"name": "sub"}, "name"),
    ("accounts/edit", {"name": _LONG}, "name"),
    ("accounts/edit", {"parent": "nobody"}, "parent"),
    ("accounts/edit", {"parent": "other"}, "parent"),
    ("accounts/edit", {"display_name": _LONG}, "display_name"),
    ("tokens/new", {"name": "", "account": "acct-1"}, "name"),
    ("tokens/new", {"name": _LONG, "account": "acct-1"}, "name"),
    ("tokens/new", {"name": "new", "account": ""}, "account"),
    ("tokens/new", {"name": "new", "account": "nobody"}, "account"),
    ("tokens/new", {"name": "new", "may": "fly"}, "may"),
    ("tokens/new", {"name": "new", "account": "acct-1", "ends": "3"}, "ends"),
    ("list/mode", {"mode": "odd"}, "mode"),
    ("list/mode", {"mode": "off", "ends": "at", "ends_at": ""}, "ends_at"),
    ("list/mode", {"mode": "off", "ends": "at", "ends_at": "2001-01-01T00:00"}, "ends_at"),
    ("list/mode", {"mode": "off", "ends": "at", "ends_at": "soon"}, "ends_at"),
    ("list/mode", {"mode": "off", "reason": _LONG}, "reason"),
    ("list/add", {"cidrs": "10.0.0.0/8"}, "cidrs"),
    ("list/add", {"cidrs": "9.9.9.9/32", "label": _LONG}, "label"),
    ("list/add", {"cidrs": "9.9.9.9/32", "ends": "at", "ends_at": ""}, "ends_at"),
    ("list/add", {"cidrs": "9.9.9.9/32", "ends": "at", "ends_at": "2001-01-01T00:00"}, "ends_at"),
    ("list/add", {"cidrs": "9.9.9.9/32", "enabled": "perhaps"}, "enabled"),
    ("list/edit", {"cidr": "8.8.8.8"}, "cidr"),
    ("list/edit", {"label": _LONG}, "label"),
    ("list/edit", {"ends_at": "soon"}, "ends_at"),
    ("list/edit", {"enabled": "perhaps"}, "enabled"),
    ("test", {"address": "8.8.8"}, "address"),
    ("list/recommendation", {"most": "0"}, "most"),
    ("list/recommendation", {"most": "ten"}, "most"),
    ("list/recommendation", {"most": "51"}, "most"),
    ("list/recommendation", {"exclude": "8.8.8"}, "exclude"),
]
GET = {"test", "list/recommendation"}


@pytest.mark.parametrize(("path", "typed", "field"), WRONG)
def test_an_error_names_its_field(api: Api, path: str, typed: dict[str, str], field: str) -> None:
    api.manager.create_account("sub", parent="acct-1")
    api.manager.create_account("other")
    api.manager.add("acct-1", "8.8.8.0/24")
    store_observed(api.manager, ("acct-1", "8.8.8.8/32", 7))
    sign_in(api)
    query = f"account=acct-1&entry={api.manager.entries('acct-1')[0].id}" if "new" not in path else ""
    if path in GET:
        answer = api.client.get(f"/console/{path}", params={"account": "acct-1", **typed})
        assert answer.status_code == 200
    else:
        form = sent(api.client.get(f"/console/{path}?{query}").text, path)
        answer = api.client.post(f"/console/{path}", data=form | typed)
        assert answer.status_code == 422, answer.text
    marked = re.findall(r'<(?:input|textarea|select|fieldset)[^>]* aria-invalid="true"[^>]*>', answer.text)
    assert len(marked) == 1, marked
    name = "modes" if field == "mode" else field
    assert f'name="{name}"' in marked[0] or f'class="{name}"' in marked[0]
    [said] = re.findall(r'aria-describedby="([^"]+)"', marked[0])
    for one in said.split():
        assert f'id="{one}"' in answer.text
    [message] = re.findall(rf'id="{said.split()[-1]}"[^>]*>(.*?)</(?:p|div)>', answer.text, re.DOTALL)
    assert html.unescape(re.sub(r"<[^>]+>", "", message)).strip()


@pytest.mark.parametrize(("path", "typed"), [(path, typed) for path, typed, _ in WRONG if path in GET])
def test_what_is_odd_in_a_search_is_kept_and_shown(api: Api, path: str, typed: dict[str, str]) -> None:
    api.manager.add("acct-1", "8.8.8.0/24")
    sign_in(api)
    answer = api.client.get(f"/console/{path}", params={"account": "acct-1", **typed})
    [(name, value)] = typed.items()
    assert re.search(rf'<input [^>]*name="{name}" value="{re.escape(value)}"', answer.text)


def test_a_form_without_an_error_marks_nothing(api: Api) -> None:
    api.manager.add("acct-1", "8.8.8.0/24")
    sign_in(api)
    query = f"account=acct-1&entry={api.manager.entries('acct-1')[0].id}"
    for path in {path for path, _, _ in WRONG}:
        page = api.client.get(f"/console/{path}?{query}")
        assert page.status_code == 200
        assert "aria-invalid" not in page.text, path
