"""A Django project of one view, set up when it is imported; the gate comes with each test's `CIDRGATE`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import re_path

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["urlpatterns"]

if not settings.configured:
    settings.configure(
        SECRET_KEY="a secret for tests",
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        MIDDLEWARE=["cidrgate.middleware.django.AllowlistMiddleware"],
        DATA_UPLOAD_MAX_MEMORY_SIZE=None,
        REST_FRAMEWORK={"UNAUTHENTICATED_USER": None},  # the usual one is a model of an application that is not here
    )
    django.setup()


def view(request: HttpRequest) -> HttpResponse:
    """The application."""
    return HttpResponse("the view runs")


urlpatterns: list[Callable[..., object]] = [re_path("", view)]
