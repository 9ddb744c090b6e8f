"""What a test does with loggers ends with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.loggers import Loggers

if TYPE_CHECKING:
    import pytest

TESTS = """
import logging

def test_first():
    logging.getLogger("cidrgate").setLevel(logging.INFO)
    logging.getLogger("cidrgate.new").addHandler(logging.NullHandler())
    assert logging.getLogger("cidrgate.changes").isEnabledFor(logging.INFO)

def test_second():
    assert not logging.getLogger("cidrgate.changes").isEnabledFor(logging.INFO)
    assert logging.getLogger("cidrgate.new").handlers == []
"""


def test_a_test_finds_loggers_as_no_other_had_touched_them(tmp_path: Path) -> None:
    (tmp_path / "test_two.py").write_text(TESTS)
    (tmp_path / "conftest.py").write_text(
        "from tests.loggers import Loggers\n\ndef pytest_configure(config):\n"
        "    config.pluginmanager.register(Loggers())\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", f"--rootdir={tmp_path}", str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert "2 passed" in done.stdout, done.stdout + done.stderr


def test_this_process_has_the_plugin(pytestconfig: pytest.Config) -> None:
    assert isinstance(pytestconfig.pluginmanager.get_plugin("loggers"), Loggers)
