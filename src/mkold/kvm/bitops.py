"""Single bits of a word, by the kernel's names.

Compilers know these forms and make one instruction of each where the processor has it.

Sources: include/asm-generic/bitops/__ffs.h, include/linux/bitops.h (``hweight64``); the sum
of bits in parallel: H. S. Warren, "Hacker's Delight", 5-1.
"""

from __future__ import annotations

from mkold.lang import kernel, u64


@kernel
def hweight64(word: u64) -> u64:
    """How many bits of ``word`` are set."""
    word -= (word >> 1) & 0x5555555555555555
    word = (word & 0x3333333333333333) + ((word >> 2) & 0x3333333333333333)
    word = (word + (word >> 4)) & 0x0F0F0F0F0F0F0F0F
    return (word * 0x0101010101010101) >> 56


@kernel
def __ffs(word: u64) -> u64:
    """The number of the lowest bit of ``word`` that is set; 64 if none is."""
    return hweight64(~word & (word - 1))


@kernel
def __fls(word: u64) -> u64:
    """The number of the highest bit of ``word``, which is not 0."""
    for i in range(6):
        word |= word >> (1 << i)
    return hweight64(word) - 1
