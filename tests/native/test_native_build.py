"""Builds: the cache, the machine code of marked accesses, the checked build, bad calls."""

import platform
import re
import subprocess
import sys
import textwrap

import pytest

from mkold.base.errors import InputError
from mkold.ir.boot import BOOT_WORDS
from mkold.ir.program import POISON
from mkold.lang import compile_text
from mkold.native import KernelBugError, Memory, build, cache

HEADER = """
from mkold.lang import *
from mkold.lang import READ_ONCE, READ_ONCE_WHICH, WRITE_ONCE, smp_mb, smp_rmb, smp_wmb
from mkold.lang import atomic_inc, cmpxchg, xchg, poison, prefetch, atomic_add
SIZE = parameter("TEST_BUILD_SIZE", 3)
"""


def functions(text: str) -> dict:
    return compile_text(HEADER + textwrap.dedent(text))


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("MKOLD_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


ONE = """
@kernel
def f(n: u64) -> u64:
    return n * SIZE + {}
"""


def test_the_second_build_comes_from_the_disk(place):
    f = functions(ONE.format(1))["f"]
    memory = Memory(BOOT_WORDS)
    first = build([f])
    assert (first.cached, first.call("f", memory, 0, 5)) == (False, 16)
    second = build([functions(ONE.format(1))["f"]])
    assert (second.cached, second.call("f", memory, 0, 5)) == (True, 16)


def test_every_edit_is_seen(place):
    memory = Memory(BOOT_WORDS)
    assert build([functions(ONE.format(1))["f"]]).call("f", memory, 0, 5) == 16
    assert build([functions(ONE.format(2))["f"]]).call("f", memory, 0, 5) == 17
    other = build([functions(ONE.format(1))["f"]], {"TEST_BUILD_SIZE": 10})
    assert (other.cached, other.call("f", memory, 0, 5)) == (False, 51)


def _broken(data: bytes) -> list[bytes]:
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    return [b"", data[:50], data[:-1], data + b"x", bytes(flipped), b"x" * len(data)]


def test_a_broken_entry_is_rebuilt(place):
    memory = Memory(BOOT_WORDS)
    f = functions(ONE.format(1))["f"]
    build([f])
    (entry,) = place.glob("*.o")
    good = entry.read_bytes()
    for bad in _broken(good):
        entry.write_bytes(bad)
        again = build([f])
        assert (again.cached, again.call("f", memory, 0, 5)) == (False, 16)
        assert entry.read_bytes() == good
    assert build([f]).cached


def test_an_entry_of_another_program_is_not_trusted(place):
    memory = Memory(BOOT_WORDS)
    build([functions(ONE.format(1))["f"]])
    (mine,) = place.glob("*.o")
    build([functions(ONE.format(2))["f"]])
    (other,) = set(place.glob("*.o")) - {mine}
    mine.write_bytes(other.read_bytes())
    image = build([functions(ONE.format(1))["f"]])
    assert (image.cached, image.call("f", memory, 0, 5)) == (False, 16)


def test_a_place_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MKOLD_CACHE_DIR", str(tmp_path / "file" / "cache"))
    image = build([functions(ONE.format(1))["f"]])
    assert (image.cached, image.call("f", Memory(BOOT_WORDS), 0, 1)) == (False, 4)


def test_the_cache_stays_small(place, monkeypatch):
    monkeypatch.setattr(cache, "MAX_ENTRIES", 4)
    for i in range(6):
        cache.store(f"{i}", b"code")
    assert 3 <= len(list(place.glob("*.o"))) <= 4
    assert cache.load("5") == b"code"
    assert cache.clear() >= 3


ASSEMBLY = """
@kernel
def spin(p: Ptr[u64]) -> None:
    while READ_ONCE(p.value) == 0:
        pass

@kernel
def hoisted(p: Ptr[u64]) -> None:
    while p.value == 0:
        pass

@kernel
def twice(p: Ptr[u64]) -> u64:
    return READ_ONCE(p.value) + READ_ONCE(p.value)

@kernel
def once(p: Ptr[u64]) -> u64:
    return p.value + p.value

@kernel
def stores(p: Ptr[u64]) -> None:
    WRITE_ONCE(p.value, 1)
    WRITE_ONCE(p.value, 1)

@kernel
def fences() -> None:
    smp_rmb()
    smp_wmb()
    smp_mb()

@kernel
def rmw(p: Ptr[u64]) -> u64:
    atomic_inc(p.value)
    return xchg(p.value, 3) + cmpxchg(p.value, 3, 5)

@kernel
def which(p: Ptr[u64]) -> u64:
    prefetch(p + 64)
    return READ_ONCE_WHICH(p.value, 64, 0x100)
"""


@pytest.fixture(scope="module")
def assembly() -> dict[str, str]:
    module = functions(ASSEMBLY)
    names = re.findall(r"def (\w+)", ASSEMBLY)
    lines = build([module[name] for name in names]).assembly().splitlines()
    parts: dict[str, str] = {}
    for line in lines:
        label = re.match(r'"?entry\.(\w+)"?:', line)
        if label:
            current = label[1]
            parts[current] = ""
        elif parts:
            parts[current] += line + "\n"
    return parts


def _loop(text: str) -> str:
    """What lies between a backward jump and its target."""
    for label in re.findall(r"^(\.L\w+):", text, re.MULTILINE):
        body = text[text.index(f"{label}:") :]
        jump = re.search(rf"\tj\w+\t{re.escape(label)}\n", body)
        if jump:
            return body[: jump.end()]
    raise AssertionError("no loop")


x86_only = pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.machine() != "x86_64",
    reason="the assembly is x86-64's",
)


@x86_only
def test_a_marked_load_stays_in_its_loop(assembly):
    assert "(%rdi,%rdx,8)" in _loop(assembly["spin"])
    assert "(%rdi,%rdx,8)" not in _loop(assembly["hoisted"])  # which is what LKMM warns of


@x86_only
def test_marked_accesses_are_not_merged(assembly):
    at = r"\(%rdi,%rdx,8\)"
    assert len(re.findall(at, assembly["twice"])) == 2
    assert len(re.findall(at, assembly["once"])) == 1
    assert len(re.findall(rf"movq\t\$1, {at}", assembly["stores"])) == 2


@x86_only
def test_barriers_and_atomics_are_the_machines(assembly):
    assert assembly["fences"].count("mfence") + assembly["fences"].count("lock") == 1
    assert re.search(r"lock\s+(incq|addq)", assembly["rmw"])
    assert "xchgq" in assembly["rmw"]
    assert re.search(r"lock\s+cmpxchgq", assembly["rmw"])
    assert re.search(r"vpor|por|vpternlog|vorps|orps", assembly["which"])
    assert re.search(r"prefetch\w+\s+512\(", assembly["which"])


CHECKED = """
@kernel
def read(p: Ptr[u64]) -> u64:
    return READ_ONCE(p.value)

@kernel
def write(p: Ptr[u64]) -> None:
    WRITE_ONCE(p.value, 1)

@kernel
def add(p: Ptr[u64]) -> None:
    atomic_add(p.value, 1)

@kernel
def many(p: Ptr[u64]) -> u64:
    return READ_ONCE_WHICH(p.value, 12, ~0)

@kernel
def fill(p: Ptr[u64], n: u64) -> None:
    poison(p.value, n)
"""


@pytest.fixture(scope="module")
def checked():
    module = functions(CHECKED)
    return build([module[n] for n in ("read", "write", "add", "many", "fill")], checked=True)


END = BOOT_WORDS + 64
FAR = BOOT_WORDS + 64 + 2**21


@pytest.mark.parametrize("name", ["read", "write", "add", "many"])
@pytest.mark.parametrize("address", [0, 5, FAR, (1 << 64) - 1, 1 << 61])
def test_the_checked_build_stops_before_a_wild_access(checked, name, address):
    memory = Memory(END)
    with pytest.raises(KernelBugError) as caught:
        checked.call(name, memory, 1, address)
    finding = caught.value.finding
    assert (finding.site.kind, finding.site.function) == ("out of bounds", name)
    assert (finding.site.what, finding.value, finding.cpu) == ("p.value", address, 1)


@pytest.mark.parametrize("name", ["read", "add", "many"])
def test_the_checked_build_stops_at_poison(checked, name):
    memory = Memory(END)
    checked.call(name, memory, 0, BOOT_WORDS)
    checked.call("fill", memory, 0, BOOT_WORDS + 11, 1)
    address = BOOT_WORDS if name == "many" else BOOT_WORDS + 11
    with pytest.raises(KernelBugError) as caught:
        checked.call(name, memory, 0, address)
    assert caught.value.finding.site.kind == "poison read"
    assert int(memory.words[BOOT_WORDS + 11]) in (POISON, POISON + 1)


def test_poison_does_not_run_over_the_end(checked):
    with pytest.raises(KernelBugError, match="out of bounds"):
        checked.call("fill", Memory(END), 0, BOOT_WORDS, 1 << 60)


def test_bad_calls_are_refused(place):
    image = build([functions(ONE.format(1))["f"]])
    memory = Memory(BOOT_WORDS)
    for call in (
        lambda: image.call("g", memory, 0, 1),
        lambda: image.call("f", memory, 0),
        lambda: image.call("f", memory, 64, 1),
        lambda: build([functions(ONE.format(1))["f"]], {"NO_SUCH": 1}),
        lambda: Memory(10),
        lambda: Memory(1 << 60),
    ):
        with pytest.raises(InputError):
            call()


def test_the_language_does_not_load_llvm():
    code = "import mkold.lang, mkold.native, sys; assert 'llvmlite' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
