"""`python -m tests.edges`: says what edges lack, and what to run when nothing is missing."""

from __future__ import annotations

import sys

from tests.edges import EDGES
from tests.edges.places import missing

if __name__ == "__main__":
    lacking = missing()
    print("\n".join(lacking) or f"{len(EDGES)} edges lack nothing. Now run: make test")
    sys.exit(bool(lacking))
