"""Manages lists over HTTP: `use_the_client.py URL TOKEN`."""

import sys
from datetime import UTC, datetime, timedelta

from cidrgate import RuleError
from cidrgate.client import ApiError, Client, ListChange, UnconfirmedError


def main(url: str, token: str) -> None:
    """Add, list, edit, check, and read what is refused."""
    with Client(url, token) as client:
        client.create_account("acct-1")
        try:
            client.add_entries("acct-1", "8.8.8.0/24")
        except UnconfirmedError as error:
            print(error.status, error.code, error.confirm)
        added: ListChange = client.add_entries(
            "acct-1",
            "8.8.8.0/24, 2606:4700::/32",
            label="office",
            expires_at=datetime.now(UTC) + timedelta(hours=2),
            confirm=["lock_out"],
        )
        print(added.version, added.entry_count)

        listed = client.list_entries("acct-1")
        print([(entry.cidr, int(entry.address_count)) for entry in listed.items])
        edited = client.edit_entry("acct-1", listed.items[0].id, label=None, expect_version=listed.version)
        print(edited.after[0].label, client.check("acct-1", "8.8.8.8").allowed, bool(client.check("acct-1", "9.9.9.9")))

        try:
            client.add_entries("acct-1", "1.1.1.0/24, 8.8.8.8")
        except ApiError as error:
            print(error.status, error.code, [problem.code for problem in error.problems], isinstance(error, RuleError))
        try:
            client.get_account("nobody")
        except ApiError as error:
            print(error.status, error.code, isinstance(error, LookupError))
        removed = client.remove_entry("acct-1", listed.items[1].id)
        print([change.action for change in client.list_history("acct-1")], removed.entry_count)


if __name__ == "__main__":
    main(*sys.argv[1:])
