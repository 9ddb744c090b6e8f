"""Account names in paths: a name may contain a slash, which is sent as `%2F` and does not split the path."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote

from fastapi import Path
from starlette.convertors import Convertor, register_url_convertor

from cidrgate.rules.account_names import MAX_ACCOUNT_NAME
from cidrgate.url_paths import path_segment

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["AccountName", "EncodedSlashes"]

_SLASH, _NUL = "\x00s", "\x00n"
"""What stands for a slash and for a NUL inside a name until the path is split."""


class EncodedSlashes:
    """Distinguishes encoded slashes inside a name from the slashes that separate parts of a path.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Mark the encoded slashes of a path and pass the request on."""
        raw = scope.get("raw_path") or b""
        if scope["type"] == "http" and b"%" in raw:
            parts = raw.decode("ascii", "replace").split("/")
            names = (unquote(part).replace("\x00", _NUL).replace("/", _SLASH) for part in parts)
            scope["path"] = "/".join(names)
        await self._app(scope, receive, send)


class _AccountConvertor(Convertor[str]):
    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return value.replace(_SLASH, "/").replace(_NUL, "\x00")

    def to_string(self, value: str) -> str:
        return path_segment(value, "the name of the account")


register_url_convertor("account", _AccountConvertor())

AccountName = Annotated[
    str,
    Path(
        min_length=1, max_length=MAX_ACCOUNT_NAME, description="The name of the account; send a slash in it as `%2F`."
    ),
]
"""A part of a path, written `{account_name:account}` in routes."""
