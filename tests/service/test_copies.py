"""Any store copied through the API by its client: the copy decides like the original."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx
from hypothesis import HealthCheck, given, settings, strategies as st

from cidrgate import Policy, RuleManager
from cidrgate.client import Client
from cidrgate.service import Settings, create_app
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from tests.any_stores import addresses_for, any_stores, verdicts
from tests.app_client import AppClient
from tests.length import length
from tests.new_stores import new_file

if TYPE_CHECKING:
    import pytest

    from cidrgate.client import AccountInfo, EntryInfo
    from cidrgate.errors import Confirmation

CONFIRM: list[Confirmation] = ["disable_enforcement", "lock_out", "wide_entry"]


def a_client(manager: RuleManager, stack: ExitStack) -> Client:
    """A client of a service on these lists, whose requests leave the process in no way."""
    app = create_app(manager, Settings())
    stack.callback(app.state.service.close)
    inner = stack.enter_context(AppClient(app))

    def answered(request: httpx.Request) -> httpx.Response:
        done = inner.request(request.method, str(request.url), content=request.read(), headers=dict(request.headers))
        headers = [(name, value) for name, value in done.headers.multi_items() if name != "content-encoding"]
        return httpx.Response(done.status_code, headers=headers, content=done.content)

    token = Credentials(manager._store).create_token("copy", [Scope("admin")]).secret
    http = httpx.Client(transport=httpx.MockTransport(answered))
    return stack.enter_context(Client("http://service", token, http=http))


def copy(source: Client, target: Client, names: list[str]) -> None:
    """Copy accounts as a program would that has nothing but the client."""
    accounts = [source.get_account(name) for name in names]
    for account in sorted(accounts, key=lambda one: one.parent is not None):
        target.create_account(account.name, parent=account.parent, display_name=account.display_name)
        if account.parent is None:
            copy_list(source, target, account)


def copy_list(source: Client, target: Client, account: AccountInfo) -> None:
    items = source.list_entries(account.name).items
    current: list[EntryInfo] = [entry for entry in items if not entry.expired]
    if current:
        target.replace_entries(account.name, current, confirm=CONFIRM)
    target.set_mode(
        account.name,
        account.mode,  # type: ignore[arg-type]
        until=account.mode_until,
        reason=account.mode_reason,
        # A list with only expired entries denies every address, and the API takes no entry that has expired.
        closed=account.closed or (bool(items) and not current),
        confirm=CONFIRM,
    )


@given(drawn=any_stores().flatmap(lambda rows: st.tuples(st.just(rows), addresses_for(rows))))
@settings(max_examples=length(12, 200), suppress_health_check=[HealthCheck.too_slow])
def test_a_store_that_was_copied_by_a_client_decides_like_the_original(
    tmp_path_factory: pytest.TempPathFactory, drawn: Any
) -> None:
    rows, addresses = drawn
    folder = tmp_path_factory.mktemp("copies")
    original, copied = new_file(folder / "original.db"), new_file(folder / "copied.db")
    rows.write(original)
    anything = Policy(allow_special=True, max_entries=100)
    with (
        RuleManager.open(original, follow=False) as source,
        RuleManager.open(copied, policy=anything, follow=False) as target,
        ExitStack() as stack,
    ):
        copy(a_client(source, stack), a_client(target, stack), rows.names)
        assert verdicts(target, rows.names, addresses) == verdicts(source, rows.names, addresses)
