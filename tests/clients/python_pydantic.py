"""What a program does with the Python client of openapi-generator: `python_pydantic.py URL TOKEN`."""

import sys
from collections.abc import Callable

from cidrgate_pydantic import (
    AccountCreate,
    AccountsApi,
    ApiClient,
    ApiException,
    Configuration,
    EntriesApi,
    EntriesCreate,
    EntryCreate,
    EntryPatch,
    Guard,
    Problem,
    QuestionsApi,
)

ACCOUNT = "python-pydantic"


def problem(call: Callable[[], object]) -> Problem:
    """The problem with which the service answers."""
    try:
        call()
    except ApiException as error:
        found = Problem.from_json(error.body or "")
        if found is not None:
            return found
    raise AssertionError("the service did not answer with a problem")


def main(url: str, token: str) -> None:
    """Manage a list."""
    with ApiClient(Configuration(host=url, access_token=token)) as client:
        accounts, lists, questions = AccountsApi(client), EntriesApi(client), QuestionsApi(client)
        assert accounts.create_account(AccountCreate(name=ACCOUNT)).entry_count == 0

        entries = [EntryCreate(cidr="8.8.8.0/24", label="office"), EntryCreate(cidr="2606:4700::/32")]
        guarded = problem(lambda: lists.add_entries(ACCOUNT, EntriesCreate(entries=entries)))
        assert (guarded.status, guarded.code, guarded.confirm) == (409, "would_lock_out_caller", ["lock_out"])
        added = lists.add_entries(ACCOUNT, EntriesCreate(entries=entries), confirm=[Guard.LOCK_OUT])
        assert added.entry_count == 2

        office, ipv6 = lists.list_entries(ACCOUNT).items
        assert (office.cidr, office.label) == ("8.8.8.0/24", "office")
        assert int(ipv6.address_count) == 2**96

        edited = lists.edit_entry(ACCOUNT, office.id, EntryPatch(label="head office"))
        assert (edited.after[0].cidr, edited.after[0].label) == ("8.8.8.0/24", "head office")
        edited = lists.edit_entry(ACCOUNT, office.id, EntryPatch(label=None), if_match=edited.etag)
        assert edited.after[0].label is None

        refused = problem(lambda: lists.add_entries(ACCOUNT, EntriesCreate(cidrs="1.1.1.0/24, 8.8.8.8")))
        assert (refused.status, refused.code) == (422, "rules_broken")
        assert [(one.code, one.position) for one in refused.errors] == [("invalid_format", 1)]

        for address, allowed in (("8.8.8.8", True), ("2606:4700::1", True), ("1.1.1.1", False)):
            assert questions.check_address(ACCOUNT, address).allowed is allowed

        missing = problem(lambda: accounts.get_account("nobody"))
        assert (missing.status, missing.code) == (404, "account_not_found")


if __name__ == "__main__":
    main(*sys.argv[1:])
