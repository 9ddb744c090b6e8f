"""No request is answered with much more than it sent, or takes much more: for the largest that the limits permit."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

from cidrgate.service.http.limits import LARGEST_PAGE

MOST_SECONDS = 120
"""Of processor time, for some two hundred requests and the lists they are about."""
MOST_KILOBYTES = 600_000


def test_the_largest_requests_are_answered_with_little() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.service.largest_requests"],
        cwd=Path(__file__).parents[2],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"{ran.stdout[-300:]}{ran.stderr[-2_000:]}"
    *requests, process = map(json.loads, ran.stdout.splitlines())
    assert len(requests) > 150
    assert [one for one in requests if one["status"] >= 500] == []
    # What is sent comes back once at most; what is stored comes in pages.
    assert [one for one in requests if one["answered"] > LARGEST_PAGE + one["sent"]] == []
    assert [one for one in requests if one["status"] >= 400 and one["answered"] > LARGEST_PAGE] == []
    assert process["kilobytes"] < MOST_KILOBYTES
