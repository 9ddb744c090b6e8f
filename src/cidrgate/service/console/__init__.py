"""The console: pages for people, server-rendered, under `/console` of the service.

A page is a template and a route. Pages change lists through `RuleManager`, as the API does. Everything works without
JavaScript: forms post and redirect. With JavaScript, dialogs open on the page and input is checked during typing.
"""

from cidrgate.service.console.app import add_console

__all__ = ["add_console"]
