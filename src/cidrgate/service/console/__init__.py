"""The console: the lists in a browser, for people. Pages are made here; what they change goes the way of the API.

`sessions` lets people in and keeps others from acting in their name; each other module has the pages of one subject.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse
from starlette.staticfiles import StaticFiles

from cidrgate.service.console import home, sign_in
from cidrgate.service.console.sessions import SignedOutError

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response

__all__ = ["add_console"]


def add_console(app: FastAPI) -> None:
    """Add the console's pages and files to an application."""
    for part in (sign_in, home):
        app.include_router(part.router, include_in_schema=False)
    app.add_exception_handler(SignedOutError, _signed_out)
    app.mount("/console/static", StaticFiles(directory=Path(__file__).with_name("static")), name="console_static")


def _signed_out(request: Request, _error: Exception) -> Response:
    """The way to the page to sign in, instead of an error."""
    return RedirectResponse(request.url_for("sign_in_page").path, 303)
