"""An API with Django that admits listed addresses only: settings, routes and views of a whole project in one file."""

import os

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, JsonResponse
from django.urls import path

from cidrgate import FromHeader
from cidrgate.middleware.django import with_lifespan

KEYS = {"key-of-acct-1": "acct-1", "key-of-acct-2": "acct-2"}  # an application asks its own database
by_key = FromHeader("x-api-key", KEYS.get)

settings.configure(
    SECRET_KEY=os.urandom(32).hex(),
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["cidrgate.middleware.django.AllowlistMiddleware"],
    CIDRGATE={
        "DATABASE": os.environ.get("CIDRGATE_DATABASE", "sqlite:///lists.db"),
        "ACCOUNT": by_key,
        "UNLISTED": "deny_unknown",  # every account is created; see docs/edges.md for the other cases
        "REQUIRE_ACCOUNT": True,
        # The addresses of the proxies in front, if there are any; else the socket's peer is the client.
        "TRUSTED_PROXIES": os.environ.get("TRUSTED_PROXIES", "").split(),
    },
)


def calls(request: HttpRequest) -> JsonResponse:
    """What the account may see."""
    return JsonResponse({"account": KEYS[request.headers["x-api-key"]]})


urlpatterns = [path("v1/calls", calls)]

wsgi = get_wsgi_application()
asgi = with_lifespan(get_asgi_application())
