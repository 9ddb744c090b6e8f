"""Ctrl-C where no exception can be passed on ends the program nevertheless, and prints nothing."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, time, weakref
{prepare}

def interrupt(*_):
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.1)  # it is raised here

class Object:
    __del__ = {del_}

one = Object()
{more}
del one
print("went on", flush=True)
time.sleep(60)
"""

HOOKS = {
    "plain": "from cidrgate.process.interrupts import repeat_lost_interrupts; repeat_lost_interrupts()",
    "logging": "from cidrgate.event_log import log_to_stderr; log_to_stderr()",
}
THREADS = {
    "threads": "",
    "no threads": """
import _thread
def start_new_thread(*_):
    raise RuntimeError("can't start new thread")
_thread.start_new_thread = start_new_thread
""",
    "held": "import threading; threading._active_limbo_lock = threading.Lock(); threading._active_limbo_lock.acquire()",
}
PLACES = {
    "destructor": ("interrupt", ""),
    "callback": ("lambda self: None", "seen = weakref.ref(one, interrupt)"),
    "again and again": ("lambda self: (interrupt(), interrupt())", "seen = weakref.ref(one, interrupt)"),
}


@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("threads", THREADS)
def test_an_interrupt_that_cannot_be_passed_on_comes_again(hook: str, place: str, threads: str) -> None:
    """Also if the system starts no more threads, or the interrupted code holds the lock of `threading`."""
    del_, more = PLACES[place]
    program = PROGRAM.format(prepare=HOOKS[hook] + "\n" + THREADS[threads], del_=del_, more=more)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "went on\n"
    assert done.returncode == -signal.SIGINT
    assert "ignored" not in done.stderr


@pytest.mark.parametrize("hook", HOOKS)
def test_an_interrupt_while_python_ends_does_not_keep_it(hook: str) -> None:
    """A thread that is started then never runs, and who waits for its start waits for ever."""
    program = f"""
{HOOKS[hook]}
class Object:
    def __del__(self, finalizing=__import__("sys").is_finalizing, say=print):
        say(finalizing(), flush=True)
        raise KeyboardInterrupt
kept = Object()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_other_errors_are_printed() -> None:
    program = PROGRAM.format(prepare=HOOKS["plain"], del_="lambda self: 1 / 0", more="time.sleep = print")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert "ZeroDivisionError" in done.stderr


def test_an_alarm_of_the_program_outlives_an_interrupt_that_comes_again() -> None:
    program = f"""
import signal, time
{HOOKS["plain"]}
{THREADS["no threads"]}
class Object:
    def __del__(self):
        raise KeyboardInterrupt

def ring(*_):
    print("alarm", flush=True)

signal.signal(signal.SIGALRM, ring)
signal.setitimer(signal.ITIMER_REAL, 0.5)
Object()
try:
    time.sleep(10)
except KeyboardInterrupt:
    print("interrupt", flush=True)
time.sleep(1)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert (done.stdout, done.stderr) == ("interrupt\nalarm\n", "")


@pytest.mark.parametrize("threads", THREADS)
def test_an_interrupt_that_comes_again_as_python_ends_does_not_kill_it(threads: str) -> None:
    """Python takes the handlers of signals away before it has ended."""
    program = f"""
import atexit, time
class Object:
    def __init__(self, lose):
        self.lose = lose
    def __del__(self, sleep=time.sleep):
        if self.lose:
            raise KeyboardInterrupt
        sleep(0.1)
kept = Object(False)
atexit.register(lambda: Object(True))  # the last one to be called
{HOOKS["plain"]}
{THREADS[threads]}
atexit.register(lambda: Object(True))
Object(True)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode in (0, -signal.SIGINT), done.stderr  # the interrupt may come before the end
