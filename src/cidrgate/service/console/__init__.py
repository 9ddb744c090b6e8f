"""The console: pages for people, server-rendered, under `/console` of the service.

A page is a template and a route; what a page changes goes through `RuleManager`, as the API's changes do. Everything
works without JavaScript: forms post and redirect. With it, dialogs open in place and text is checked while it is typed.
"""

from cidrgate.service.console.app import add_console

__all__ = ["add_console"]
