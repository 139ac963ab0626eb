"""KVM's dirty ring: the flags of an entry hand it from vCPU to userspace to the reset and back.

One entry. The vCPU fills it, userspace collects it, the reset takes it back and re-protects
the page, and the vCPU fills it again. Left out: the ring's indices.

    mkold check docs/gallery/dirty_ring.py --explain
"""

from mkold.check import Case, Claim, Scenario, Setup, Swap
from mkold.lang import (
    READ_ONCE,
    WRITE_ONCE,
    Ptr,
    Struct,
    kernel,
    smp_load_acquire,
    smp_store_release,
    smp_wmb,
    u64,
)

SOURCE = (
    "commit 8929bc965964 "
    '("KVM: Use acquire/release semantics when accessing dirty ring GFN state")'
)
SENTENCE = "The reset protects again the very page that userspace has collected."

DIRTY, RESET = 1, 2


class KvmDirtyGfn(Struct):
    flags: u64
    slot: u64
    offset: u64


@kernel
def kvm_dirty_ring_push(entry: Ptr[KvmDirtyGfn], slot: u64, offset: u64) -> u64:
    if READ_ONCE(entry.flags):
        return 0  # full
    WRITE_ONCE(entry.slot, slot)
    WRITE_ONCE(entry.offset, offset)
    smp_wmb()
    WRITE_ONCE(entry.flags, DIRTY)
    return 1


@kernel
def collect(entry: Ptr[KvmDirtyGfn]) -> u64:
    if smp_load_acquire(entry.flags) != DIRTY:
        return 0
    gfn = READ_ONCE(entry.slot) * 16 + READ_ONCE(entry.offset)
    smp_store_release(entry.flags, RESET)
    return gfn


@kernel
def kvm_dirty_ring_reset(entry: Ptr[KvmDirtyGfn]) -> u64:
    if smp_load_acquire(entry.flags) != RESET:
        return 0
    gfn = READ_ONCE(entry.slot) * 16 + READ_ONCE(entry.offset)
    smp_store_release(entry.flags, 0)
    return gfn


def one_entry(m: Setup) -> None:
    entry = m.new(KvmDirtyGfn, "gfn")
    m.thread("vcpu", (kvm_dirty_ring_push, entry, 1, 1), (kvm_dirty_ring_push, entry, 2, 2))
    m.thread("user", (collect, entry))
    m.thread("reset", (kvm_dirty_ring_reset, entry))
    m.never(
        "wrong-page",
        lambda end: end.result("reset") not in (0, end.result("user")),
        "The reset protects a page that userspace has not collected.",
    )


SCENARIO = Scenario("dirty-ring", one_entry)
ACQUIRE = Swap("kvm_dirty_ring_reset:smp_load_acquire", "READ_ONCE")
RELEASE = Swap("kvm_dirty_ring_reset:smp_store_release", "WRITE_ONCE")

CLAIMS = [
    Claim("fixed", SENTENCE, SOURCE, (Case("acquire and release", SCENARIO),)),
    Claim(
        "bug",
        SENTENCE,
        SOURCE,
        (
            Case("the entry given back by WRITE_ONCE", SCENARIO, (RELEASE,)),
            Case("the flags read by READ_ONCE", SCENARIO, (ACQUIRE,)),
        ),
    ),
]
