"""A Django project in one file: `python with_django.py DATABASE`."""

import sys

import django
from django.conf import settings
from django.http import HttpRequest, JsonResponse
from django.test import Client
from django.urls import path

from cidrgate import RuleManager, Verdict


def calls(request: HttpRequest, account: str) -> JsonResponse:
    """What the account may see."""
    verdict: Verdict = request.cidrgate
    return JsonResponse({"account": account, "matched": verdict.matched_cidr})


def account_of(request: HttpRequest) -> str | None:
    """The account of a request, by its path."""
    parts = str(request.path_info).split("/")
    return parts[2] if len(parts) > 2 else None


urlpatterns = [path("v1/<account>/calls", calls)]


def main(database: str) -> None:
    """Make the lists, configure the project, and ask it."""
    with RuleManager.open(database, create=True) as manager:
        manager.create_account("acct-1")
        manager.add("acct-1", "8.8.8.0/24")
    settings.configure(
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        MIDDLEWARE=["cidrgate.middleware.django.AllowlistMiddleware"],
        CIDRGATE={
            "DATABASE": database,
            "ACCOUNT": f"{__name__}.account_of",
            "UNLISTED": "deny_unknown",
            "REQUIRE_ACCOUNT": True,
            "LOG": "none",
        },
    )
    django.setup()
    for address in ("8.8.8.8", "9.9.9.9"):
        answer = Client(REMOTE_ADDR=address).get("/v1/acct-1/calls")
        body = answer.json()
        print(answer.status_code, body.get("matched", body.get("code")))


if __name__ == "__main__":
    main(sys.argv[1])
