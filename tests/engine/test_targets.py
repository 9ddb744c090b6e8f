"""Other processors and other targets: what is missing is said, and what is narrower works out the same."""

from __future__ import annotations

import platform
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from cidrgate import _engine
from cidrgate._engine import _folded_products
from tests.fuzz.layout import keyed_hash

HEADERS = Path(__file__).parents[2] / "ext"
MASK = 2**64 - 1
numbers = st.one_of(st.integers(0, MASK), st.sampled_from([0, 1, 2**32 - 1, 2**32, 2**32 + 1, 2**63, MASK - 1, MASK]))

on_x86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="speaks of x86-64 processors")


@given(numbers, numbers)
def test_products_are_folded_alike_without_a_wide_type(a: int, b: int) -> None:
    product = a * b
    assert _folded_products(a, b) == (product & MASK ^ product >> 64,) * 2


# The engine is asked for alone: the package's other modules import numpy, which has limits of its own.
LOAD = """
import importlib.machinery, importlib.util, sys
loader = importlib.machinery.ExtensionFileLoader("cidrgate._engine", sys.argv[1])
spec = importlib.util.spec_from_loader("cidrgate._engine", loader)
try:
    importlib.util.module_from_spec(spec)
except ImportError as error:
    print("refused:", error)
else:
    print("accepted")
"""


@on_x86_64
@pytest.mark.parametrize(
    ("processor", "accepted"),
    [("qemu64", False), ("Conroe", False), ("Penryn", False), ("Opteron_G3", False), ("Nehalem", True)],
)
def test_a_processor_that_lacks_instructions_is_named_at_import(processor: str, accepted: bool) -> None:
    emulator = shutil.which("qemu-x86_64")
    if emulator is None:
        pytest.skip("needs qemu-user: apt-get install qemu-user")
    command = [emulator, "-cpu", processor, sys.executable, "-c", LOAD, str(_engine.__file__)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    if accepted:
        assert done.stdout == "accepted\n"
    else:
        assert done.stdout.startswith("refused: cidrgate needs an x86-64 processor with SSE4.2 and POPCNT")


NARROW = """
#include <stdio.h>
#include "native.h"
#include "counters.h"
#include "ranks.h"
#include "quad.h"
#include "groups.h"

int main(int count, char **arguments) {
    uint32_t address = 0;
    for (int index = 2; index < count; index++)
        printf("%u\\n", cidrgate_hash((const uint8_t *)arguments[index], strlen(arguments[index]),
                                     strtoull(arguments[1], NULL, 10)));
    cidrgate_quad_prepare();
    if (!cidrgate_quad((const uint8_t *)"8.8.4.4", 7, &address)) return 2;
    printf("%u %d %d\\n", address, cidrgate_popcount(0xF0F0F0F0F0F0F0F1u), (int)sizeof(void *));
    return cidrgate_allocate_array(SIZE_MAX / 8, 8) != NULL ||
           cidrgate_reallocate_array(NULL, UINT64_MAX / 16, 16) != NULL;
}
"""


@on_x86_64
def test_a_target_of_32_bits_hashes_names_alike(tmp_path: Path) -> None:
    (tmp_path / "narrow.c").write_text(NARROW)
    program = tmp_path / "narrow"
    command = ["gcc", "-m32", "-O2", "-Wall", f"-I{HEADERS}", str(tmp_path / "narrow.c"), "-o", str(program)]
    if shutil.which("gcc") is None or not Path("/usr/include/x86_64-linux-gnu/gnu/stubs-32.h").exists():
        pytest.skip("needs a compiler for 32 bits: apt-get install gcc-multilib")
    subprocess.run(command, check=True, capture_output=True, text=True)
    source = random.Random(1)
    seed = source.getrandbits(64)
    names = ["x" * size for size in range(1, 70)] + [f"acct-{source.getrandbits(60)}" for _ in range(50)]
    done = subprocess.run([program, str(seed), *names], check=True, capture_output=True, text=True)
    *hashes, rest = done.stdout.splitlines()
    assert list(map(int, hashes)) == [keyed_hash(name.encode(), seed) for name in names]
    assert rest == f"{8 << 24 | 8 << 16 | 4 << 8 | 4} 33 4"
