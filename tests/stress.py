"""The suite on a machine that has no time: `python -m tests.stress [--runs N] [what pytest takes]`.

A run is that of `make test`. Beside it a busy loop for each processor takes what it can get, and there are many more
forks than usual. A test that fails here and not alone waits for less than it should, or for the wrong thing. Ends with
what each run came to, and with an error if any test failed or a run did not end.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

BOUND = 7_200.0
"""Seconds after which a run is given up."""

FORKS = "500"

BUSY = """
import os, time
parent, end = os.getppid(), time.monotonic() + float({bound})
while time.monotonic() < end and os.getppid() == parent:
    for _ in range(1_000_000):
        pass
"""


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Processes that do nothing, as fast as they can."""
    loops = [subprocess.Popen([sys.executable, "-c", BUSY.format(bound=BOUND)]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def run(number: int, arguments: Sequence[str], folder: Path) -> tuple[bool, str]:
    """Whether a run of the suite was green, and a line about it."""
    report = folder / f"run-{number}.xml"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-n",
        "2",
        "--dist",
        "worksteal",
        "--ignore=tests/faults",
        "--ignore=tests/distribution",
        "--ignore=tests/spark",
        f"--junitxml={report}",
        *arguments,
    ]
    began = time.monotonic()
    environment = {**os.environ, "CIDRGATE_FORKS": FORKS}
    with subprocess.Popen(command, env=environment, start_new_session=True) as process:
        try:
            code = process.wait(BOUND)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return False, f"run {number}: not over after {BOUND:.0f} s"
    minutes = (time.monotonic() - began) / 60
    if not report.exists():
        return False, f"run {number}: pytest ended with {code}, and reported nothing"
    suite = ET.parse(report).getroot().find("testsuite")
    assert suite is not None
    counts = ", ".join(f"{suite.get(what)} {what}" for what in ("tests", "failures", "errors", "skipped"))
    failed = [
        f"    {case.get('classname')}::{case.get('name')}"
        for case in suite.iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    ]
    return code == 0, "\n".join([f"run {number}: {counts}, {minutes:.1f} minutes", *failed])


def main() -> int:
    """Run the suite, and print the summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2)
    options, arguments = parser.parse_known_args()
    processors = os.cpu_count() or 1
    lines: list[str] = []
    green = True
    with tempfile.TemporaryDirectory() as folder, busy_loops(processors):
        for number in range(1, options.runs + 1):
            good, line = run(number, arguments, Path(folder))
            green = green and good
            lines.append(line)
    print(f"\n{options.runs} runs beside {processors} busy loops: {'all green' if green else 'NOT GREEN'}")
    print("\n".join(lines))
    return 0 if green else 1


if __name__ == "__main__":
    sys.exit(main())
