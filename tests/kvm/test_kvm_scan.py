"""The scan of one table, blocks and rest, against a loop over its entries."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mkold.ir.boot import BOOT_WORDS
from mkold.kvm.powerpc.radix.age import age_table
from mkold.kvm.powerpc.radix.pte import _PAGE_ACCESSED, _PAGE_DIRTY, _PAGE_PRESENT
from mkold.native import Memory, build

TABLE = BOOT_WORDS + 64
BITMAP = TABLE + 640
YOUNG = _PAGE_PRESENT | _PAGE_ACCESSED
ENTRIES = [0, _PAGE_PRESENT, YOUNG, YOUNG | _PAGE_DIRTY, _PAGE_ACCESSED, (1 << 64) - 1, 0x1234]


@pytest.fixture(scope="module", params=[{}, {"SCAN_BLOCK": 64}, {"SCAN_BLOCK": 5}], ids=str)
def scan(request: pytest.FixtureRequest):
    image = build([age_table], request.param, checked=True)
    return image, Memory(BITMAP + 64)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_table_is_scanned_entry_by_entry(scan, data: st.DataObject) -> None:
    image, memory = scan
    n = data.draw(st.integers(0, 130) | st.just(512))
    start = data.draw(st.integers(0, 7))
    rare = data.draw(st.booleans())
    random = data.draw(st.randoms(use_true_random=False))
    chosen = [random.choice(ENTRIES) if not rare or random.random() < 0.03 else 0x1234
              for _ in range(n)]  # fmt: skip
    with_bitmap, clear = data.draw(st.booleans()), data.draw(st.booleans())
    bits = [random.getrandbits(64) if clear else 0 for _ in range(9)]
    last = data.draw(st.integers(0, 63))  # the bitmap's bit of the last entry
    at = TABLE + start
    memory.words[TABLE : TABLE + 600] = YOUNG  # what lies around is not touched
    memory.words[at : at + n] = chosen
    memory.words[BITMAP : BITMAP + 9] = bits
    bitmap = BITMAP if with_bitmap else 0
    found = image.call("age_table", memory, 0, at, n, clear, bitmap, last + n - 1)

    young = [i for i, pte in enumerate(chosen) if pte & YOUNG == YOUNG]
    assert found == len(young)
    for i in young:
        bit = last + n - 1 - i
        if with_bitmap and not clear:
            bits[bit >> 6] |= 1 << (bit & 63)
        elif clear and (not with_bitmap or bits[bit >> 6] >> (bit & 63) & 1):
            chosen[i] &= ~_PAGE_ACCESSED
    assert memory.words[at : at + n].tolist() == chosen
    assert memory.words[BITMAP : BITMAP + 9].tolist() == bits
    assert (memory.words[TABLE:at] == YOUNG).all()
    assert (memory.words[at + n : TABLE + 600] == YOUNG).all()
