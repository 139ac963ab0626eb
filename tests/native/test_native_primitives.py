"""What is native alone: vectors of every length, the CPU's number, its clock, warnings.

That each row means natively what it means elsewhere is tested in ``tests/ir``.
"""

from mkold.ir.boot import BOOT_WORDS
from mkold.ir.program import POISON
from mkold.lang import compile_text
from mkold.native import Memory, build

AT = BOOT_WORDS


def test_read_once_which_and_poison_of_every_length() -> None:
    text = "from mkold.lang import Ptr, READ_ONCE_WHICH, kernel, poison, u64\n"
    counts = (1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 47, 63, 64)
    for n in counts:
        text += f"""
@kernel
def which_{n}(p: Ptr[u64], mask: u64) -> u64:
    return READ_ONCE_WHICH(p.value, {n}, mask)
"""
    text += """
@kernel
def fill(p: Ptr[u64], n: u64) -> None:
    poison(p.value, n)
"""
    module = compile_text(text)
    image = build([*(module[f"which_{n}"] for n in counts), module["fill"]])
    memory = Memory(BOOT_WORDS + 1024)
    for n in counts:
        assert image.call(f"which_{n}", memory, 0, AT + 1, 0xFF) == 0
        for i in range(n):
            memory.words[AT + 1 + i] = 0x140 | i << 32
            assert image.call(f"which_{n}", memory, 0, AT + 1, 0xF0) == (2 << i) - 1
            assert image.call(f"which_{n}", memory, 0, AT + 1, 0xF) == 0
        assert image.call(f"which_{n}", memory, 0, AT + 1, 0x140) == (1 << n) - 1
        odd = sum(1 << i for i in range(1, n, 2))
        assert image.call(f"which_{n}", memory, 0, AT + 1, 1 << 32) == odd
        memory.words[AT + 1 : AT + 1 + n] = 0
        memory.words[AT] = memory.words[AT + 1 + n] = 0xFF  # the neighbours are not read
        assert image.call(f"which_{n}", memory, 0, AT + 1, 0xFF) == 0
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
