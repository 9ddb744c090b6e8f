"""One module for each framework: each asks a `cidrgate.Gate` before the application runs, and answers 403 if it denies.

`asgi` and `wsgi` work around any application and need no framework. `django`, `drf` (Django REST framework), `fastapi`,
`starlette`, `flask` and `aiohttp` follow the idioms of these frameworks.
"""
