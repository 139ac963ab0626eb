"""Each primitive's native meaning: the machine code gives what the interpreter gives."""

import pytest

from mkold.ir.boot import BOOT_WORDS
from mkold.ir.interpret import Interpreter
from mkold.ir.module import collect
from mkold.ir.prims import PRIMS, Prim, Shape
from mkold.ir.program import POISON
from mkold.lang import compile_text
from mkold.native import Image, Memory, build

WORDS = (0, 1, 5, 63, 64, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, POISON)
AT = BOOT_WORDS
ON_WORDS = {
    Shape.LOAD,
    Shape.STORE,
    Shape.STORE_MB,
    Shape.XCHG,
    Shape.CMPXCHG,
    Shape.TRY_CMPXCHG,
    Shape.FETCH,
    Shape.UNLESS,
}
ROWS = [row for row in PRIMS.values() if row.shape in ON_WORDS]
PLAIN = {"load": "return p.value", "store": "p.value = a"}


def source(row: Prim) -> str:
    results = {0: "None", 1: "u64", 2: "tuple[u64, u64]"}[row.n_dsts]
    args = ["p.value", "a", "b"][: row.n_args]
    body = PLAIN.get(row.name)
    if body is None:
        call = f"{row.name}({', '.join(args)})"
        body = {0: call, 1: f"return {call}", 2: f"x, y = {call}\n    return x, y"}[row.n_dsts]
    return (
        f"\n@kernel\ndef do_{row.name}(p: Ptr[u64], a: u64, b: u64) -> {results}:\n    {body}\n"
    )


@pytest.fixture(scope="module")
def compiled() -> tuple[dict, Image, Image]:
    names = ", ".join(row.name for row in ROWS if row.name not in PLAIN)
    text = f"from mkold.lang import Ptr, kernel, u64, {names}\n" + "".join(map(source, ROWS))
    module = compile_text(text)
    functions = [module[f"do_{row.name}"] for row in ROWS]
    return collect(functions).functions, build(functions), build(functions, checked=True)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_means_the_same_natively(row: Prim, compiled: tuple) -> None:
    functions, plain, checked = compiled
    name = f"do_{row.name}"
    memory = Memory(BOOT_WORDS + 8)
    n_changed = 0
    for old in WORDS:
        for a in WORDS:
            for b in (0, old, 7):
                expected = {AT: old}
                results = Interpreter(functions, expected).call(name, AT, a, b)
                for image in (plain, checked):
                    if image is checked and old == POISON:
                        continue  # the checked build refuses to read POISON
                    memory.words[AT] = old
                    got = image.call(name, memory, 0, AT, a, b)
                    as_tuple = got if isinstance(got, tuple) else (got,)
                    assert as_tuple == (results or (None,)), (old, a, b)
                    assert int(memory.words[AT]) == expected[AT], (old, a, b)
                n_changed += expected[AT] != old
    assert (n_changed > 0) == (row.shape is not Shape.LOAD)


def test_read_once_any_and_poison_of_every_length() -> None:
    text = "from mkold.lang import Ptr, READ_ONCE_ANY, kernel, poison, u64\n"
    counts = (1, 2, 7, 8, 9, 64, 127, 128, 200, 512)
    for n in counts:
        text += f"""
@kernel
def any_{n}(p: Ptr[u64], mask: u64) -> u64:
    return READ_ONCE_ANY(p.value, {n}, mask)
"""
    text += """
@kernel
def fill(p: Ptr[u64], n: u64) -> None:
    poison(p.value, n)
"""
    module = compile_text(text)
    image = build([*(module[f"any_{n}"] for n in counts), module["fill"]])
    memory = Memory(BOOT_WORDS + 1024)
    for n in counts:
        assert image.call(f"any_{n}", memory, 0, AT + 1, 0xFF) == 0
        for i in (0, n // 2, n - 1):
            memory.words[AT + 1 + i] = 0x140
            assert image.call(f"any_{n}", memory, 0, AT + 1, 0xF0) == 0x40, (n, i)
            memory.words[AT + 1 + i] = 0
        memory.words[AT] = memory.words[AT + 1 + n] = 0xFF  # the neighbours are not read
        assert image.call(f"any_{n}", memory, 0, AT + 1, 0xFF) == 0
        memory.words[AT + 1 + n] = 0
        image.call("fill", memory, 0, AT + 1, n)
        assert (memory.words[AT + 1 : AT + 1 + n] == POISON).all()
        assert memory.words[AT] == 0xFF
        assert memory.words[AT + 1 + n] == 0
        memory.words[AT : AT + 600] = 0


def test_cpu_number_cycles_and_warnings() -> None:
    module = compile_text(
        """
from mkold.lang import WARN_ON_ONCE, barrier, get_cycles, kernel, smp_processor_id, u64

@kernel
def cpu() -> u64:
    return smp_processor_id()

@kernel
def cycles() -> u64:
    start = get_cycles()
    barrier()
    return get_cycles() - start

@kernel
def warn(x: u64) -> u64:
    if WARN_ON_ONCE(x > 3):
        return 100
    return x
"""
    )
    image = build([module["cpu"], module["cycles"], module["warn"]])
    memory = Memory(BOOT_WORDS)
    assert [image.call("cpu", memory, n) for n in (0, 5, 63)] == [0, 5, 63]
    assert 0 < image.call("cycles", memory, 0) < 1 << 32
    assert image.call("warn", memory, 0, 3) == 3
    assert image.warned(memory) is None
    assert image.call("warn", memory, 2, 4) == 100
    found = image.warned(memory)
    assert found is not None
    assert (found.site.function, found.cpu, found.count) == ("warn", 2, 1)
    assert image.diagnose(memory) is None
