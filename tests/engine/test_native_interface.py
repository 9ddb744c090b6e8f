"""The examples for native code, compiled and run: rows and answers without Python objects."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import cidrgate
from cidrgate import Matcher

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[2] / "docs" / "native"
DENIED, ALLOWED, INVALID_ADDRESS, INVALID_ROW, UNKNOWN_ACCOUNT = range(5)
UNKNOWN_ROW = -1


def build(directory: Path) -> None:
    """Compile the examples, as their README says, with `get_include()` and nothing to link; and a reader for tests."""
    cython = pytest.importorskip("Cython.Build", reason="needs Cython: pip install Cython")
    setuptools = pytest.importorskip("setuptools", reason="needs setuptools: pip install setuptools")
    (directory / "gate.pyx").write_bytes((EXAMPLES / "gate.pyx").read_bytes())
    (directory / "gate_c.c").write_bytes((EXAMPLES / "gate.c").read_bytes())
    (directory / "reader.pyx").write_bytes(Path(__file__).with_name("reader.pyx").read_bytes())
    extensions = [
        setuptools.Extension(source.partition(".")[0], [str(directory / source)], include_dirs=[cidrgate.get_include()])
        for source in ("gate.pyx", "gate_c.c", "reader.pyx")
    ]
    built = cython.cythonize(extensions, include_path=[str(Path(cidrgate.__file__).parents[1])], quiet=True)
    distribution = setuptools.Distribution({"ext_modules": built})
    command = distribution.get_command_obj("build_ext")
    command.build_lib = command.build_temp = str(directory)
    command.ensure_finalized()
    command.run()


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    directory = tmp_path_factory.mktemp("native")
    build(directory)
    sys.path.insert(0, str(directory))
    yield importlib.import_module("gate"), importlib.import_module("gate_c")
    sys.path.remove(str(directory))


@pytest.fixture
def matcher() -> Matcher:
    matcher = Matcher()
    matcher.publish("acct-1", ["8.8.8.0/25", "2606:4700::/32"])
    matcher.publish("open", [])
    matcher.link("sub-é", parent="acct-1")
    matcher.publish("reports", ["8.8.8.0/25"], mode="report_only")
    matcher.publish("paused", [f"8.8.8.{n}/32" for n in range(100)], mode="off")
    return matcher


@pytest.mark.slow
def test_rows_are_counted_without_the_gil(examples: tuple[Any, Any], matcher: Matcher) -> None:
    gate, _ = examples
    first = int.from_bytes(bytes([8, 8, 8, 0]), "big")
    assert gate.count_allowed(matcher, "acct-1", first, 256) == 128
    assert gate.count_allowed(matcher, "sub-é", first, 256) == 128
    assert gate.count_allowed(matcher, "open", first, 256) == 256
    assert gate.count_allowed(matcher, "unknown", first, 256) == 256
    matcher.publish("acct-1", [f"8.8.8.{n}/32" for n in range(100)])
    assert gate.count_allowed(matcher, "sub-é", first, 256) == 100


def test_answers_are_those_of_the_matcher(examples: tuple[Any, Any], matcher: Matcher) -> None:
    gate, gate_c = examples
    for account in ("acct-1", "sub-é", "open", "unknown", "reports", "paused"):
        row = matcher.rows([account])[0]
        for text in ("8.8.8.8", "8.8.8.200", "2606:4700::1", "2606:4800::1", "::ffff:8.8.8.8"):
            expected = matcher.allows(account, text)
            status = gate.check(matcher, row, text.encode())
            assert status == (UNKNOWN_ACCOUNT if account == "unknown" else expected)
            assert gate_c.allowed(matcher, account, text) == expected


@pytest.mark.usefixtures("examples")
def test_an_answer_is_one_or_zero_and_a_status_says_why(matcher: Matcher) -> None:
    """In C whatever is not zero is true: what is in doubt has to be zero."""
    statuses = importlib.import_module("reader").statuses
    row = matcher.rows(["acct-1"])[0]
    gone = matcher.rows(["open"])[0]
    matcher.discard("open")
    listed, unlisted = ip_address("8.8.8.8"), ip_address("8.8.8.200")
    for address, allowed in ((listed, 1), (unlisted, 0)):
        forms = int(address), bytes(10) + b"\xff\xff" + address.packed, str(address).encode()
        assert statuses(matcher, row, *forms) == [(allowed, allowed)] * 3
        for nobody in (gone, 1_000, -2, -5, 2**31 - 1, -(2**31)):
            assert statuses(matcher, nobody, *forms) == [(0, INVALID_ROW)] * 3
        assert statuses(matcher, UNKNOWN_ROW, *forms) == [(1, UNKNOWN_ACCOUNT)] * 3
    for text in (
        b"",
        b"8.8.8",
        b"8.8.8.8\0",
        b"fe80::1%eth0",
        b"08.8.8.8",
        b" 8.8.8.8",
        b"\xff",
        b"8.8.8.8/32",
        b":" * 99,
    ):
        for any_row in (row, gone, UNKNOWN_ROW):
            assert statuses(matcher, any_row, int(listed), bytes(16), text)[2] == (0, INVALID_ADDRESS)


@pytest.mark.usefixtures("examples")
@pytest.mark.parametrize("before", ["", "import cidrgate; "])
def test_a_caller_loads_the_engine_by_itself(before: str) -> None:
    folder = str(Path(str(sys.modules["gate_c"].__file__)).parent)
    code = f"import sys; sys.path.insert(0, {folder!r}); {before}import gate_c, gate"
    subprocess.run([sys.executable, "-c", code], check=True)


CALLER = """
#include <cidrgate.h>
static PyObject *run(PyObject *module, PyObject *unused) {
    (void)module, (void)unused;
    if (cidrgate_import() == NULL) return NULL;
    Py_RETURN_NONE;
}
static PyMethodDef methods[] = {{"run", run, METH_NOARGS, NULL}, {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "NAME", NULL, -1, methods, NULL, NULL, NULL, NULL};
PyMODINIT_FUNC PyInit_NAME(void) { return PyModule_Create(&definition); }
"""


def members(header: str) -> list[str]:
    """What `cidrgate_api` consists of, in its order."""
    inside = header.partition("typedef struct {")[2].partition("} cidrgate_api;")[0]
    inside = re.sub(r"/\*.*?\*/", "", inside, flags=re.DOTALL)
    return [" ".join(member.split()) for member in inside.split(";") if member.strip()]


def member_names(declarations: list[str]) -> list[str]:
    return [re.search(r"\(\*(\w+)\)|(\w+)(\[\d+\])?$", one)[0].strip("(*)") for one in declarations]  # type: ignore[index]


# Compiled callers know these places: within an ABI version, members are only appended.
ABI = 3
MEMBERS = [
    "uint32_t abi_version",
    "uint32_t size",
    "uint64_t reserved[2]",
    "const cidrgate_matcher *(*matcher)(PyObject *object)",
    "int32_t (*row)(const cidrgate_matcher *matcher, const char *account, size_t size)",
    "int (*allows_ipv4)(const cidrgate_matcher *matcher, int32_t row, uint32_t address)",
    "int (*allows_ipv6)(const cidrgate_matcher *matcher, int32_t row, const uint8_t *octets)",
    "int (*allows_text)(const cidrgate_matcher *matcher, int32_t row, const char *text, size_t size)",
    "int (*check_ipv4)(const cidrgate_matcher *matcher, int32_t row, uint32_t address)",
    "int (*check_ipv6)(const cidrgate_matcher *matcher, int32_t row, const uint8_t *octets)",
    "int (*check_text)(const cidrgate_matcher *matcher, int32_t row, const char *text, size_t size)",
    "void *(*enter)(const cidrgate_matcher *matcher)",
    "void (*leave)(void *reader)",
]


def test_functions_are_only_appended() -> None:
    header = (Path(cidrgate.get_include()) / "cidrgate.h").read_text()
    assert f"#define CIDRGATE_ABI_VERSION {ABI}\n" in header
    assert members(header)[: len(MEMBERS)] == MEMBERS
    cython = (Path(cidrgate.__file__).parent / "api.pxd").read_text().partition("ctypedef struct cidrgate_api:\n")[2]
    declared = [re.sub(r" (noexcept|except).*", "", line).strip() for line in cython.partition("\n\n")[0].splitlines()]
    assert member_names(declared) == member_names(members(header))


LATER = "    void (*leave)(void *reader);\n"
HEADERS = [
    # What the header said when the caller was compiled, as a change of today's, and what the caller is told.
    ("same", "", "", None),
    ("earlier", "    void *(*enter)(const cidrgate_matcher *matcher);\n" + LATER, "", None),
    ("later", LATER, LATER + "    void (*more)(void);\n", "upgrade cidrgate"),
    ("other", "#define CIDRGATE_ABI_VERSION 3", "#define CIDRGATE_ABI_VERSION 4", "compile it again"),
]


@pytest.mark.parametrize(("name", "old", "new", "refusal"), HEADERS, ids=[name for name, *_ in HEADERS])
@pytest.mark.parametrize("language", ["c", "cpp"])
def test_a_compiled_caller_goes_on_with_a_later_cidrgate(
    language: str, name: str, old: str, new: str, refusal: str | None, tmp_path: Path
) -> None:
    header = (Path(cidrgate.get_include()) / "cidrgate.h").read_text()
    assert old in header
    (tmp_path / "cidrgate.h").write_text(header.replace(old, new) if old else header)
    module = f"caller_{language}_{name}"
    source = tmp_path / f"{module}.{language}"
    source.write_text(
        CALLER.replace("import(PyObject", "run(PyObject").replace(" import,", " run,").replace("NAME", module)
    )
    built = tmp_path / f"{module}.so"
    compiler = "g++" if language == "cpp" else "gcc"
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}, on Debian: apt-get install {compiler}")
    include = sysconfig.get_paths()["include"]
    flags = ["-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", f"-I{tmp_path}", f"-isystem{include}"]
    subprocess.run([compiler, *flags, str(source), "-o", str(built)], check=True)
    loader = importlib.machinery.ExtensionFileLoader(module, str(built))
    caller = importlib.util.module_from_spec(importlib.util.spec_from_loader(module, loader))  # type: ignore[arg-type]
    loader.exec_module(caller)
    if refusal is None:
        assert caller.run() is None
    else:
        with pytest.raises(ImportError, match=refusal):
            caller.run()


@pytest.mark.usefixtures("examples")
@pytest.mark.parametrize("together", [1, 50])
def test_native_readers_and_a_writer_need_no_gil(together: int) -> None:
    reader = importlib.import_module("reader")
    matcher = Matcher()
    accounts = [f"acct-{number}" for number in range(100)]
    for number, account in enumerate(accounts):
        matcher.publish(account, [f"8.8.{number}.0/24"])
    asked, rights = [0, 0], [0, 0]
    stop = threading.Event()

    def read(number: int) -> None:
        while not stop.is_set():
            rights[number] += reader.read(matcher, accounts, 8 << 24 | 8 << 16, 2_000 // together, together)
            asked[number] += 2_000

    threads = [threading.Thread(target=read, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    # Every list keeps its own network and never holds the next one, so whatever is read is right.
    for step in range(20_000):
        number = step * 7 % 100
        more = [f"9.{n >> 8}.{n & 255}.0/24" for n in range(step * 13 % 90)]
        matcher.publish(accounts[number], [f"8.8.{number}.0/24", *more])
        matcher.publish(f"new-{step % 5_000}", more[:3])
        matcher.link(f"sub-{step % 1_000}", accounts[number])
        matcher.discard(f"sub-{step * 3 % 1_000}")
    stop.set()
    for thread in threads:
        thread.join()
    assert rights == asked
    assert min(asked) > 10_000


@pytest.mark.usefixtures("examples")
@pytest.mark.parametrize("which", [0, 1])
def test_a_signal_ends_the_wait_for_a_native_reader_that_does_not_leave(matcher: Matcher, which: int) -> None:
    """A thread that calls `adopt` between `enter` and `leave` waits for itself."""
    reader = importlib.import_module("reader")
    other = Matcher()
    other.publish("acct-1", ["9.9.9.0/24"])
    inside = reader.enter((matcher, other)[which])
    timer = threading.Timer(0.2, signal.pthread_kill, (threading.get_ident(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        matcher.adopt(other)
    timer.join()
    assert (matcher.prefixes("acct-1"), other.prefixes("acct-1")) == (["8.8.8.0/25", "2606:4700::/32"], ["9.9.9.0/24"])
    for changed in (matcher, other):
        changed.publish("new", ["1.1.1.0/24"])
    reader.leave(inside)
    matcher.adopt(other)
    assert (sorted(matcher), len(other)) == (["acct-1", "new"], 0)


def test_other_objects_are_no_matcher(examples: tuple[Any, Any]) -> None:
    gate, gate_c = examples
    with pytest.raises(TypeError):
        gate.check(object(), 0, b"8.8.8.8")
    with pytest.raises(TypeError):
        gate_c.allowed(object(), "acct-1", "8.8.8.8")


def test_callers_of_c_see_no_gap_while_all_lists_are_replaced(examples: tuple[Any, Any], matcher: Matcher) -> None:
    _, gate_c = examples
    ended = threading.Event()

    def replace() -> None:
        number = 0
        while not ended.is_set():
            other = Matcher()
            for before in range(number % 7):
                other.publish(f"before-{before}", ["9.9.9.0/24"])
            other.publish("acct-1", ["8.8.8.0/25"])
            matcher.adopt(other)
            number += 1

    writer = threading.Thread(target=replace)
    writer.start()
    answers = {
        (gate_c.allowed(matcher, "acct-1", "8.8.8.8"), gate_c.allowed(matcher, "acct-1", "9.9.9.9"))
        for _ in range(50_000)
    }
    ended.set()
    writer.join()
    assert answers == {(True, False)}
