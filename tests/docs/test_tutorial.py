"""The tutorial, typed from an empty folder as a newcomer would, except that packages come from this environment."""

from __future__ import annotations

import re
import sys
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.docs.pages import ROOT
from tests.docs.shell import blocks_of, commands_of, environment_of, matches, run
from tests.servers.running import free_port, program, running
from tests.warm_starts import programs

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (ROOT / "docs" / "tutorial.md").read_text()


def test_the_tutorial_ends_in_a_403(tmp_path: Path) -> None:
    program("curl", "on Debian: apt-get install curl")
    [code] = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    port = free_port()
    environment = environment_of(programs(), tmp_path)
    installed, statuses = 0, []
    with ExitStack() as servers:
        for block in blocks_of(PAGE):
            assert block.mark == "run by tests/docs/test_tutorial.py"
            for typed in commands_of(block):
                command = re.sub(r"\b8000\b", str(port), typed.command)
                if command.startswith(("python3 -m venv", ". venv", "pip install")):
                    installed += 1
                    continue
                if command.startswith("uvicorn"):
                    (tmp_path / "api.py").write_text(code)
                    arguments = [sys.executable, "-m", *command.split()]
                    servers.enter_context(running(arguments, tmp_path, port))
                    continue
                said = run(command, typed, tmp_path, environment)
                if command.startswith("curl"):
                    # A change takes some milliseconds to the API; a person is slower than that.
                    for _ in range(200):
                        if matches(typed.expected, said):
                            break
                        time.sleep(0.01)
                        said = run(command, typed, tmp_path, environment)
                assert matches(typed.expected, said), f"{command}\n{said}"
                statuses += re.findall(r"\b(?:200|403)\b", "\n".join(typed.expected[:1]))
    assert installed == 3
    assert statuses == ["403", "403", "403"]
