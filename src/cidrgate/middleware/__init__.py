"""One module a framework: each asks a `cidrgate.Gate` before the application runs, and answers 403 for it.

`asgi` and `wsgi` need nothing else and work around any application. `django`, `drf` (Django REST framework), `fastapi`,
`starlette`, `flask` and `aiohttp` follow the idioms of these frameworks.
"""
