"""Every option of a server has a variable of the environment, which counts unless the option is typed."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import typer.main
from typer.testing import CliRunner

from cidrgate.cli.app import app
from cidrgate.cli.environment import split_lists, variable_of
from cidrgate.rules import Policy
from tests.cli.settings_page import PAGE, SERVERS, everywhere, filled_page, options

if TYPE_CHECKING:
    from tests.cli.conftest import Cidrgate

FOUND = everywhere()
ROOT: Any = typer.main.get_command(app)
REPOSITORY = Path(__file__).parents[2]
OTHERS = {"CIDRGATE_DATABASE_FILE"}
"""Variables that stand for no option."""


def test_every_option_has_a_variable_of_its_own() -> None:
    for name, found in FOUND.items():
        assert len(found) > 5, name
        for option in found:
            expected = variable_of("", option.flag).replace("__", "_") if name == "every" else None
            assert option.variable == (expected or variable_of(name, option.flag)), option
    variables = [option.variable for found in FOUND.values() for option in found]
    assert len(set(variables)) == len(variables)


@pytest.mark.parametrize("command", SERVERS)
def test_the_help_of_a_server_names_every_variable(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "1000"}).stdout
    for option in [*FOUND["every"], *FOUND[command]]:
        assert f"Also {option.variable}" in shown, option
    assert "CIDRGATE_DATABASE_FILE" in shown


def test_other_commands_take_only_what_is_common_from_the_environment() -> None:
    """A confirmation such as `--empty` is typed each time."""
    for name, command in ROOT.commands.items():
        if name not in SERVERS:
            for each in [command, *getattr(command, "commands", {}).values()]:
                assert [option for option in options(each) if option.variable is not None] == [], name


def test_the_page_lists_every_option() -> None:
    text = PAGE.read_text()
    for name in FOUND:
        assert f"<!-- options of {name} -->" in text
    assert filled_page(text) == text, (
        "python -m tests.cli.settings_page brings docs/reference/environment.md up to date"
    )


def test_documents_and_deployments_name_no_variable_that_nothing_reads() -> None:
    known = {option.variable for found in FOUND.values() for option in found} | OTHERS
    pages = [*(REPOSITORY / "docs").rglob("*.md"), REPOSITORY / "README.md", *(REPOSITORY / "deploy").rglob("*")]
    named = {
        variable
        for page in pages
        if page.is_file()
        for variable in re.findall(r"\bCIDRGATE_(?:DATABASE|SERVE|AUTHORIZE)\w*", page.read_text())
    }
    assert named - known == set()
    assert len(named) > len(known) / 2


# What an option is given by its variable and by hand, and what that comes to; two texts where nothing else is said.
SWITCH = ("true", None, True, True)
NUMBER = ("3", "4", 3, 4)
LIST = (
    "10.0.0.0/8, 10.1.0.0/16 10.2.0.0/16",
    "10.3.0.0/16",
    ["10.0.0.0/8", "10.1.0.0/16", "10.2.0.0/16"],
    ["10.3.0.0/16"],
)
GIVEN: dict[str, tuple[str, str | None, Any, Any]] = {
    **dict.fromkeys(("--link", "--trust-everybody", "--authorize", "--note-matches", "--create", "--metrics"), SWITCH),
    **dict.fromkeys(("--allow-header-aliases", "--report-only"), SWITCH),
    "--require-account": ("false", None, False, True),
    "--json": SWITCH,
    **{
        f"--{option.name.replace('_', '-')}": SWITCH if isinstance(option.default, bool) else NUMBER
        for option in fields(Policy)
    },
    **dict.fromkeys(("--port", "--workers", "--trusted-hops", "--log-every", "--max-staleness"), NUMBER),
    **dict.fromkeys(("--ready-within", "--lock-timeout", "--traffic-days"), NUMBER),
    "--traffic": ("networks", "addresses", "networks", "addresses"),
    "--on-stale": ("deny", "serve", "deny", "serve"),
    **dict.fromkeys(("--allow", "--trusted-proxy"), LIST),
    "--credential-header": ("X-Key,X-Token", "X-Secret", ["X-Key", "X-Token"], ["X-Secret"]),
    "--unlisted": ("deny", "allow", "deny", "allow"),
    "--log": ("all", "none", "all", "none"),
    "--tls-certificate": ("a.pem", "b.pem", Path("a.pem"), Path("b.pem")),
    "--tls-key": ("a.pem", "b.pem", Path("a.pem"), Path("b.pem")),
}


@pytest.mark.parametrize(
    ("command", "flag", "variable"),
    [(name, option.flag, option.variable) for name, found in FOUND.items() for option in found],
)
def test_an_option_wins_over_its_variable(
    command: str, flag: str, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_variable, by_hand, from_variable, from_hand = GIVEN.get(flag, ("one", "two", "one", "two"))

    def taken(*arguments: str) -> Any:
        reader = ROOT if command == "every" else ROOT.commands[command]
        context = reader.make_context("cidrgate", [*arguments, *(["version"] if command == "every" else [])])
        values = dict(context.params)
        split_lists(context, values)
        [name] = [parameter.name for parameter in reader.params if flag in parameter.opts]
        return values[name]

    typed = [flag] if by_hand is None else [flag, by_hand]
    monkeypatch.delenv(variable, raising=False)
    unset = taken()
    assert unset != from_variable
    assert taken(*typed) == from_hand
    monkeypatch.setenv(variable, by_variable)
    assert taken() == from_variable
    assert taken(*typed) == from_hand
    monkeypatch.setenv(variable, "")
    assert taken() == unset


def test_an_error_says_which_variable_a_value_came_from(cidrgate: Cidrgate, monkeypatch: pytest.MonkeyPatch) -> None:
    # What Kubernetes sets for a service of this name.
    cidrgate.environment["CIDRGATE_SERVE_PORT"] = "tcp://10.0.0.1:8080"
    for form in ([], ["--json"]):
        assert "CIDRGATE_SERVE_PORT" in " ".join(cidrgate("serve", *form, status=2).err.split())
        assert "CIDRGATE_SERVE_PORT" not in cidrgate("serve", *form, "--port", "x", status=2).err
    cidrgate.environment["CIDRGATE_AUTHORIZE_TRUSTED_PROXY"] = "10.0.0.0/8,10.0.0.0/99"
    assert "'10.0.0.0/99'" in cidrgate("authorize", "--unlisted", "deny", status=2).err
    cidrgate.environment["CIDRGATE_MAX_ENTRIES"] = "many"
    assert "CIDRGATE_MAX_ENTRIES" in " ".join(cidrgate("account", "list", status=2).err.split())


def test_json_may_be_asked_for_by_the_environment(cidrgate: Cidrgate) -> None:
    cidrgate.environment["CIDRGATE_JSON"] = "1"
    assert cidrgate("account", "create", "acct-1").record["name"] == "acct-1"
    assert cidrgate("list", "acct-2", status=4).error["code"] == "account_not_found"
    cidrgate.environment["CIDRGATE_JSON"] = "0"
    assert "acct-1" in cidrgate("account", "list").out.splitlines()[1]


MISSPELT = {
    "serve": ["CIDRGATE_SERVE_ALOW", "CIDRGATE_SERVE_ALLOWED", "CIDRGATE_SERVE_DATABASE", "cidrgate_serve_allow"],
    "authorize": ["CIDRGATE_AUTHORIZE_MAX_STALENES", "CIDRGATE_AUTHORIZE_DATABASE", "CIDRGATE_DATABASE_URL"],
    "list": ["CIDRGATE_DATABSE", "CIDRGATE_DATABASES", "CIDRGATE_ACTR", "CIDRGATE_MAX_ENTRYS", "CIDRGATE_Database"],
}
"""Names that somebody has set in vain, by a command that would have to read them."""


@pytest.mark.parametrize(("command", "name"), [(command, name) for command in MISSPELT for name in MISSPELT[command]])
def test_a_variable_that_is_misspelt_is_an_error(command: str, name: str, cidrgate: Cidrgate) -> None:
    arguments = ["acct-1"] if command == "list" else ["--unlisted", "deny"] if command == "authorize" else []
    said = cidrgate(command, *arguments, environment={name: "10.0.0.0/8"}, status=2).err
    assert f"{name} is unknown" in said


@pytest.mark.parametrize("name", ["ALLOW", "ALLOW_ACCOUNT", "TLS_CERTIFICATE", "TLS_KEY"])
@pytest.mark.parametrize("value", ["", " "])
def test_an_empty_variable_that_would_restrict_is_an_error(name: str, value: str, cidrgate: Cidrgate) -> None:
    said = cidrgate("serve", environment={f"CIDRGATE_SERVE_{name}": value}, status=2).err
    assert f"CIDRGATE_SERVE_{name} is set and empty" in said


def test_variables_of_others_are_left_alone(cidrgate: Cidrgate) -> None:
    others = {
        "CIDRGATE_SERVE_SERVICE_HOST": "10.0.0.1",
        "CIDRGATE_SERVE_PORT_80_TCP_ADDR": "10.0.0.1",
        "CIDRGATE_AUTHORIZE_SERVICE_PORT_HTTP": "80",
        "CIDRGATE_SERVE_ALLOW": "10.0.0.0/8",
        "CIDRGATE_FORKS": "7",
        "MY_CIDRGATE_DATABSE": "x",
    }
    cidrgate("account", "create", "acct-1")
    cidrgate("list", "acct-1", environment=others)
