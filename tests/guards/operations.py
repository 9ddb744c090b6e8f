"""Every operation of every edge: the changes that each makes, or why no guard can be met there."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeAlias

from typer.main import get_command

from cidrgate.cli.app import app as cli

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI

__all__ = ["COMMANDS", "LIBRARY", "METHODS", "PAGES", "ROUTES", "Rows", "changing", "commands", "public"]

Rows: TypeAlias = "Mapping[str, list[str] | str]"
"""What each operation changes, by its name at its edge; a sentence where it changes nothing that is guarded."""

READS = "it changes no list and makes no credential"
OPERATES = "it runs or stops what answers, and changes no list"
ENDS_CREDENTIALS = "it takes a credential away and gives nobody anything"
SESSION = "it begins what a token or a link, which was guarded when it was made, is good for"
LOG = "it deletes what is told of the past, and no list changes"
CLOCK = "the clock asks for it, not a caller; it never takes the last entry"

POLICY = "no list changes with the policy; lists that do not fit are named"

COPIES = "it makes what a copy has: the copy was guarded when it was a list, and a backup needs an empty store"

LIBRARY: Rows = {
    "RuleManager.import_export": COPIES,
    "RuleManager.restore_backup": COPIES,
    **dict.fromkeys([f"RuleManager.{name}" for name in ("export", "backup", "find")], READS),
    "RuleManager.add": ["add"],
    "RuleManager.edit": ["edit"],
    "RuleManager.remove": ["remove"],
    "RuleManager.replace": ["replace"],
    "RuleManager.restore": ["restore"],
    "RuleManager.set_mode": ["set_mode"],
    "RuleManager.pause": ["pause"],
    "RuleManager.resume": ["resume"],
    "RuleManager.undo": ["undo"],
    "RuleManager.import_accounts": ["import"],
    "RuleManager.apply": ["apply"],
    "RuleManager.evaluate": READS,
    "RuleManager.plan": READS,
    "RuleManager.recommend": READS,
    "RuleManager.create_account": ["create_account"],
    "RuleManager.rename_account": ["rename_account"],
    "RuleManager.edit_account": ["rename_account", "move_account", "leave_parent"],
    "RuleManager.delete_account": ["delete_account"],
    "RuleManager.set_policy": POLICY,
    "RuleManager.policy_state": READS,
    "RuleManager.policy_differences": READS,
    "RuleManager.prune_history": LOG,
    "RuleManager.erase": LOG,
    "RuleManager.sweep": CLOCK,
    "RuleManager.note_match": READS,
    "RuleManager.store_matches": READS,
    "RuleManager.with_origin": "it says who makes the changes of the other rows",
    "RuleManager.with_hooks": "it makes the manager that the other rows are tried with",
    **dict.fromkeys(
        [f"RuleManager.{name}" for name in ("account", "accounts", "allows", "checker", "counts", "entries")]
        + [
            f"RuleManager.{name}"
            for name in (
                "changes",
                "follow_changes",
                "explain",
                "history",
                "last_matches",
                "list_states",
                "listing",
                "traffic",
            )
        ],
        READS,
    ),
    **dict.fromkeys(
        [f"RuleManager.{name}" for name in ("open", "load", "follow", "save_snapshot", "close")]
        + [f"RuleManager.{name}" for name in ("withdraw_changes", "measure_waits", "before_fork", "after_fork")],
        OPERATES,
    ),
    "Credentials.create_token": ["create_token"],
    "Credentials.create_token_in": ["create_token"],
    "Credentials.create_link": ["create_link"],
    "Credentials.create_link_in": ["create_link"],
    "Credentials.begin_session": SESSION,
    "Credentials.open_link": SESSION,
    "Credentials.written": "it carries out what the other rows make or end",
    "Credentials.with_origin": "it says who makes the changes of the other rows",
    "Credentials.log_failures": "it logs wrong credentials, and changes no list",
    "Credentials.revoke_token": ENDS_CREDENTIALS,
    **dict.fromkeys(
        [f"Credentials.{name}" for name in ("revoke_token_in", "end_session", "end_session_by_id", "end_session_in")]
        + ["Credentials.end_all_sessions"],
        ENDS_CREDENTIALS,
    ),
    **dict.fromkeys(
        [f"Credentials.{name}" for name in ("authenticate", "authenticate_all", "tokens", "any_usable", "is_usable")]
        + [f"Credentials.{name}" for name in ("session", "sessions", "session_by_id", "rely_on_token")]
        + [f"Credentials.{name}" for name in ("rely_on_session", "newest_token_id", "token_made_since")],
        READS,
    ),
}
COMMANDS: Rows = {
    "restore-backup": COPIES,
    "backup": READS,
    "find": READS,
    "add": ["add"],
    "edit": ["edit"],
    "remove": ["remove"],
    "replace": ["replace"],
    "entry add": ["add"],
    "entry edit": ["edit"],
    "entry remove": ["remove"],
    "entry replace": ["replace"],
    "restore": ["restore"],
    "mode": ["set_mode"],
    "pause": ["pause"],
    "resume": ["resume"],
    "undo": ["undo"],
    "import": ["import"],
    "apply": ["apply"],
    "plan": READS,
    "account create": ["create_account"],
    "account rename": ["rename_account"],
    "account edit": ["move_account", "leave_parent"],
    "account delete": ["delete_account"],
    "policy set": POLICY,
    "policy show": READS,
    "token create": ["create_token"],
    "token revoke": ENDS_CREDENTIALS,
    "session end": ENDS_CREDENTIALS,
    "prune": LOG,
    "erase": LOG,
    **dict.fromkeys(
        [
            *("account list", "account show", "list", "entry list", "entry show", "check", "explain", "history"),
            *("export", "token list", "session list", "version", "recommend", "replay"),
        ],
        READS,
    ),
    **dict.fromkeys(["compile", "migrate", "serve", "authorize"], OPERATES),
}
ROUTES: Rows = {
    "POST /v1/accounts/{account_name}/entries": ["add"],
    "PATCH /v1/accounts/{account_name}/entries/{entry_id}": ["edit"],
    "DELETE /v1/accounts/{account_name}/entries/{entry_id}": ["remove"],
    "DELETE /v1/accounts/{account_name}/entries": ["remove"],
    "PUT /v1/accounts/{account_name}/entries": ["replace"],
    "POST /v1/accounts/{account_name}/restore": ["restore"],
    "PUT /v1/accounts/{account_name}/mode": ["set_mode"],
    "POST /v1/accounts/{account_name}/history/{sequence}/undo": ["undo"],
    "PUT /v1/lists": ["apply"],
    "POST /v1/accounts": ["create_account"],
    "PATCH /v1/accounts/{account_name}": ["rename_account", "move_account", "leave_parent"],
    "DELETE /v1/accounts/{account_name}": ["delete_account"],
    "PUT /v1/policy": POLICY,
    "PUT /v1/accounts/{account_name}/policy": POLICY,
    "POST /v1/accounts/{account_name}/subaccounts": ["create_account"],
    "POST /v1/tokens": ["create_token"],
    "POST /v1/links": ["create_link"],
    "DELETE /v1/tokens/{token_id}": ENDS_CREDENTIALS,
    "DELETE /v1/sessions/{session_id}": ENDS_CREDENTIALS,
    "POST /v1/accounts/{account_name}/preview": READS,
}
METHODS: Rows = {
    "add_entries": ["add"],
    "edit_entry": ["edit"],
    "remove_entry": ["remove"],
    "remove_entries": ["remove"],
    "replace_entries": ["replace"],
    "restore_list": ["restore"],
    "set_mode": ["set_mode"],
    "undo_change": ["undo"],
    "apply_lists": ["apply"],
    "create_account": ["create_account"],
    "edit_account": ["rename_account", "move_account", "leave_parent"],
    "delete_account": ["delete_account"],
    "set_policy": POLICY,
    "set_account_policy": POLICY,
    "create_subaccount": ["create_account"],
    "create_token": ["create_token"],
    "create_link": ["create_link"],
    "revoke_token": ENDS_CREDENTIALS,
    "end_session": ENDS_CREDENTIALS,
    "preview_change": READS,
}
PAGES: Rows = {
    "/list/add": ["add", "replace"],
    "/list/edit": ["edit"],
    "/list/remove": ["remove"],
    "/list/enable": ["edit"],
    "/list/mode": ["set_mode"],
    "/list/restore": ["restore"],
    "/list/undo": ["undo"],
    "/accounts/new": ["create_account"],
    "/accounts/edit": ["rename_account", "move_account", "leave_parent"],
    "/accounts/delete": ["delete_account"],
    "/tokens/new": ["create_token"],
    "/tokens/revoke": ENDS_CREDENTIALS,
    "/sessions/end": ENDS_CREDENTIALS,
    "/sign-out": ENDS_CREDENTIALS,
    **dict.fromkeys(["/sign-in", "/link/{secret}"], SESSION),
    **dict.fromkeys(["/list/add/check", "/list/add/rewrite", "/list/edit/check", "/list/edit/rewrite"], READS),
    "/list/recommendation/take": READS,
}


def public(*kinds: type) -> set[str]:
    return {
        f"{kind.__name__}.{name}"
        for kind in kinds
        for name, _ in inspect.getmembers(kind, callable)
        if not name.startswith("_")
    }


def commands() -> set[str]:
    found: set[str] = set()
    waiting: list[tuple[str, Any]] = [("", get_command(cli))]
    while waiting:
        prefix, command = waiting.pop()
        below = getattr(command, "commands", None)
        if below is None:
            found.add(prefix.strip())
        else:
            waiting += [(f"{prefix} {name}", one) for name, one in below.items()]
    return found


def changing(app: FastAPI) -> dict[str, str]:
    """The operation of each route of the API that is not for reading."""
    return {
        f"{method.upper()} {path}": one["operationId"]
        for path, methods in app.openapi()["paths"].items()
        for method, one in methods.items()
        if method != "get"
    }
