"""The programs run as processes of their own, so pytest does not import them."""

from pathlib import Path

HERE = Path(__file__).parent
collect_ignore = [
    *(path.name for path in HERE.glob("*.py") if path.name not in ("__init__.py", "conftest.py", "test_programs.py")),
    "native",
]
