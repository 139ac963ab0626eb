"""The flat memory that native code works on: an array of words, mapped, zero at first.

The words below ``mkold.ir.boot.BOOT_WORDS`` are the machine's own; frames and objects
come after them. Pages are touched lazily; where the system has huge pages it is asked for
them.
"""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

from mkold.base.errors import InputError
from mkold.ir import boot

WORD_BYTES = 8
_HUGE_PAGE_BYTES = 1 << 21


class Memory:
    """``n_words`` words, the boot area included.

    Attributes
    ----------
    words : uint64 array, shape (n_words,), the memory itself
    base : the address of word 0 in this process
    n_words : how many words a user may name

    Raises
    ------
    InputError : fewer words than the boot area needs, or more than the system gives
    """

    def __init__(self, n_words: int) -> None:
        if n_words < boot.BOOT_WORDS:
            raise InputError(f"a memory has at least {boot.BOOT_WORDS} words, not {n_words}")
        self.n_words = n_words
        total = boot.n_words_in_all(n_words)
        try:
            # One huge page more, so that word 0 can be moved to the start of one.
            # Private: systems that give huge pages on request seldom do for shared memory.
            n_bytes = total * WORD_BYTES + _HUGE_PAGE_BYTES
            self._map = mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except (OSError, OverflowError, ValueError) as error:
            raise InputError(f"no memory of {n_words} words: {error}") from error
        if hasattr(mmap, "MADV_HUGEPAGE"):
            self._map.madvise(mmap.MADV_HUGEPAGE)
        raw = np.frombuffer(self._map, dtype=np.uint64)
        skip = -raw.ctypes.data % _HUGE_PAGE_BYTES // WORD_BYTES
        self._all: NDArray[np.uint64] = raw[skip : skip + total]
        self.words: NDArray[np.uint64] = self._all[:n_words]
        self.base: int = self._all.ctypes.data
        for address, word in boot.start(n_words).items():
            self._all[address] = word

    def stop(self) -> None:
        """Make every thread leave native code at its next ``cpu_relax()``.

        Locks they hold stay held: the memory is fit for looking at only.
        """
        self.words[boot.STOP] = 1

    def __len__(self) -> int:
        return self.n_words
