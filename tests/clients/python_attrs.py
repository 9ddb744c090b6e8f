"""What a program does with the client of openapi-python-client: `python_attrs.py URL TOKEN`."""

import sys

from cidrgate_attrs import AuthenticatedClient
from cidrgate_attrs.api.accounts import create_account, get_account
from cidrgate_attrs.api.entries import add_entries, edit_entry, list_entries
from cidrgate_attrs.api.questions import check_address
from cidrgate_attrs.models import (
    Account,
    AccountCreate,
    Check,
    EntriesCreate,
    EntryCreate,
    EntryPage,
    EntryPatch,
    Guard,
    ListChange,
    Problem,
)

ACCOUNT = "python-attrs"


def main(url: str, token: str) -> None:
    """Manage a list."""
    with AuthenticatedClient(base_url=url, token=token, raise_on_unexpected_status=True) as client:
        account = create_account.sync(client=client, body=AccountCreate(name=ACCOUNT))
        assert isinstance(account, Account)
        assert account.entry_count == 0

        entries = [EntryCreate(cidr="8.8.8.0/24", label="office"), EntryCreate(cidr="2606:4700::/32")]
        guarded = add_entries.sync(ACCOUNT, client=client, body=EntriesCreate(entries=entries))
        assert isinstance(guarded, Problem)
        assert (guarded.status, guarded.code, guarded.confirm) == (409, "would_lock_out_caller", ["lock_out"])
        added = add_entries.sync(ACCOUNT, client=client, body=EntriesCreate(entries=entries), confirm=[Guard.LOCK_OUT])
        assert isinstance(added, ListChange)
        assert added.entry_count == 2

        page = list_entries.sync(ACCOUNT, client=client)
        assert isinstance(page, EntryPage)
        office, ipv6 = page.items
        assert (office.cidr, office.label) == ("8.8.8.0/24", "office")
        assert int(ipv6.address_count) == 2**96

        edited = edit_entry.sync(ACCOUNT, office.id, client=client, body=EntryPatch(label="head office"))
        assert isinstance(edited, ListChange)
        assert (edited.after[0].cidr, edited.after[0].label) == ("8.8.8.0/24", "head office")
        edited = edit_entry.sync(ACCOUNT, office.id, client=client, body=EntryPatch(label=None), if_match=edited.etag)
        assert isinstance(edited, ListChange)
        assert edited.after[0].label is None

        refused = add_entries.sync(ACCOUNT, client=client, body=EntriesCreate(cidrs="1.1.1.0/24, 8.8.8.8"))
        assert isinstance(refused, Problem)
        assert (refused.status, refused.code) == (422, "rules_broken")
        assert [(one.code, one.position) for one in refused.errors] == [("invalid_format", 1)]

        for address, allowed in (("8.8.8.8", True), ("2606:4700::1", True), ("1.1.1.1", False)):
            check = check_address.sync(ACCOUNT, client=client, address=address)
            assert isinstance(check, Check)
            assert check.allowed is allowed

        missing = get_account.sync("nobody", client=client)
        assert isinstance(missing, Problem)
        assert (missing.status, missing.code) == (404, "account_not_found")


if __name__ == "__main__":
    main(*sys.argv[1:])
