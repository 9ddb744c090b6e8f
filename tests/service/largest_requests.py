"""The largest requests that the limits permit, sent in a process of its own: what each was answered with, as JSON.

Run by `test_amplification`, which limits the processor time and the memory it may take.
"""

from __future__ import annotations

import json
import resource
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, urlencode

from cidrgate import RuleManager
from cidrgate.service import Settings, create_app
from cidrgate.service.auth.credentials import Credentials
from cidrgate.service.auth.values import Scope
from cidrgate.service.http.limits import LARGEST_BODY, LONGEST_FORM_LIST, LONGEST_LABEL, LONGEST_NAME, MOST_SCOPES
from tests.app_client import AppClient
from tests.service.test_console_sessions import OWN_PAGE, proof

OF_A_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ACCOUNT = "é" * LONGEST_NAME
HOSTS = [f"2600:{number // 65_536:x}:{number % 65_536:x}::/128" for number in range(64_000)]
NESTED = [f"2600::/{length}" for length in range(12, 102)]


def filling(unit: str) -> str:
    """A text of a megabyte, as JSON."""
    return unit * ((LARGEST_BODY - 200) // len(json.dumps(unit)[1:-1].encode()))


def entries_of(cidrs: list[str]) -> list[dict[str, str]]:
    return [{"cidr": cidr} for cidr in cidrs]


def submissions() -> dict[str, object]:
    """What somebody may ask to have listed, by what is wrong with it."""
    return {
        "covered networks": ",".join([*HOSTS[: (LARGEST_BODY - 4_000) // 19], *NESTED]),
        "as many pieces as are looked at, nested": entries_of([*HOSTS[:410], *NESTED]),
        "pieces of the longest kind": entries_of(["é" * 200] * 500),
        "pieces with hints": entries_of([f"{number}.8.8.8-{number}.9.9.250" for number in range(1, 224)] * 2),
        "one piece": filling("1"),
        "spaces": "1" + filling(" ")[:-2] + "2",
        "signs": filling("-"),
        "commas": filling(","),
        "letters": filling("é"),
        "control characters": filling("\x01"),
        "quotes": filling('"'),
        "lines": filling("1\n"),
        "many texts": ["1"] * ((LARGEST_BODY - 200) // 5),
        "many networks": ",".join(["1"] * ((LARGEST_BODY - 200) // 2)),
        "many numbers": [1] * ((LARGEST_BODY - 200) // 3),
        "many objects": [{"cidr": "1"}] * ((LARGEST_BODY - 200) // 15),
        "many wrong objects": [{"x": 1}] * ((LARGEST_BODY - 200) // 10),
        "a whole list with labels": [{"cidr": f"9.9.{n}.0/24", "label": "é" * LONGEST_LABEL} for n in range(50)],
    }


def main() -> None:
    """Send them."""
    with RuleManager.open("memory://", follow=False) as manager:
        settings = Settings(login_failures=10**9)
        client = AppClient(create_app(manager, settings), client=("198.51.100.7", 50_000), follow_redirects=False)
        credentials = Credentials(manager._store)
        token = credentials.create_token("é" * LONGEST_NAME, [Scope("admin")])
        headers = {"Authorization": f"Bearer {token.secret}", "Content-Type": "application/json"}
        manager.create_account(ACCOUNT)
        for number in range(300):
            manager.create_account(f"{number:03}{'é' * (LONGEST_NAME - 3)}", parent=ACCOUNT)
        wide = [f"{number}.0.0.0/8" for number in range(11, 61)]
        manager.add(ACCOUNT, [cidr for cidr in wide if not cidr.startswith("10.")], label="é" * LONGEST_LABEL)
        lists = [[f"9.{n}.{m}.0/24" for m in range(50)] for n in range(2)]
        manager.create_account("other")
        for number in range(300):
            manager.replace("other", lists[number % 2], label="é" * LONGEST_LABEL, actor="é" * LONGEST_NAME)
        path = f"/v1/accounts/{quote(ACCOUNT)}"

        def report(what: str, sent: int, response: object) -> None:
            status, size = response.status_code, len(response.content)  # type: ignore[attr-defined]
            print(json.dumps({"what": what, "status": status, "sent": sent, "answered": size}), flush=True)

        def api(what: str, method: str, where: str, body: object = None, **more: str) -> None:
            content = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
            report(
                f"{method} {what}", len(content), client.request(method, where, content=content, headers=headers | more)
            )

        for what, cidrs in submissions().items():
            body = {"cidrs" if isinstance(cidrs, str) else "entries": cidrs}
            for change in ("add", "replace"):
                api(f"preview {change}: {what}", "POST", f"{path}/preview", {"change": change, **body})
            api(f"entries: {what}", "POST", f"{path}/entries", body)
            api(
                f"entries: {what}",
                "PUT",
                f"{path}/entries?confirm=lock_out&confirm=disable_enforcement",
                body,
                **{"If-Match": '"v99"'},
            )
            if isinstance(cidrs, str):
                api(f"entry: {what}", "PATCH", f"{path}/entries/1", {"cidr": cidrs})
                api(f"account: {what}", "POST", "/v1/accounts", {"name": cidrs})
                api(f"token: {what}", "POST", "/v1/tokens", {"name": cidrs, "scopes": [cidrs[:100_000]]})
        api(
            "holes",
            "POST",
            f"{path}/preview",
            {"change": "replace", "cidrs": ",".join(f"{n}.1.1.1/32" for n in range(11, 61))},
        )
        api("ids", "POST", f"{path}/preview", {"change": "remove", "entry_ids": list(range(1, 140_000))})
        names = [f"{number}{'é' * (LONGEST_NAME - 4)}" for number in range(MOST_SCOPES)]
        for name in names:
            manager.create_account(name)
        scopes = [f"account:{name}:write" for name in names]
        for _ in range(60):
            credentials.create_token("é" * LONGEST_NAME, map(Scope.parse, scopes))
            credentials.begin_session(token.token, lifetime=timedelta(hours=1), address="2600::1")
        api("scopes", "POST", "/v1/tokens", {"name": "n", "scopes": scopes * 50})
        for where in (
            "/v1/accounts",
            f"{path}/subaccounts",
            "/v1/accounts/other/history",
            "/v1/tokens",
            "/v1/sessions",
        ):
            api(f"{where[-20:]} in pages", "GET", f"{where}?limit=1000")
        for where in ("/v1/accounts/other/entries?limit=1000", "/openapi.json", "/metrics", "/v1/me", "/healthz"):
            api(where, "GET", where)

        client.post("/console/sign-in", data={"token": token.secret}, headers=OWN_PAGE)
        csrf = proof(client.get("/console/accounts?q=0").text)
        query = urlencode({"account": ACCOUNT})
        for page in ("accounts", f"list?{query}", "list?account=other", f"subaccounts?{query}", "tokens", "sessions"):
            report(f"console {page[:20]}", 0, client.get(f"/console/{page}"))
        report("console history", 0, client.get("/console/history?account=other"))
        for what, cidrs in submissions().items():
            if not isinstance(cidrs, str):
                cidrs = "\n".join(str(one) for one in cidrs[:500])  # type: ignore[index]
            for size in (LONGEST_FORM_LIST, LARGEST_BODY):
                form = {"csrf": csrf, "account": ACCOUNT, "cidrs": cidrs[:size], "version": "0"}
                sent = urlencode(form)
                for action in ("add", "add/check"):
                    answer = client.post(f"/console/list/{action}", content=sent, headers=OF_A_FORM)
                    report(f"console {action}: {what}", len(sent), answer)
        rewriting = {"csrf": csrf, "account": ACCOUNT, "cidrs": "1", "version": "0", "way": "instead " + "9" * 9_000}
        report("console rewrite", 10_000, client.post("/console/list/add/rewrite", data=rewriting))
        rewriting["way"] = "9" * 9_000
        report("console rewrite", 10_000, client.post("/console/list/add/rewrite", data=rewriting))
    print(json.dumps({"kilobytes": peak_kilobytes()}))


def peak_kilobytes() -> int:
    """The most memory this program has had; that of the process which started it counts in `getrusage` too."""
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
