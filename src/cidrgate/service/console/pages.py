"""How the console's pages are made: one Jinja environment, everything escaped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.templating import Jinja2Templates

if TYPE_CHECKING:
    from fastapi import Request, Response

__all__ = ["page"]

_templates = Jinja2Templates(
    env=Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
)


def page(request: Request, template: str, status: int = 200, **context: Any) -> Response:
    """A page.

    Args:
        request: What is answered.
        template: The file of the page.
        status: The HTTP status.
        context: What the template shows.
    """
    return _templates.TemplateResponse(request, template, context, status)
