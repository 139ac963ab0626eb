"""Beyond the review: the rest of the protocol that the walk leans on, claims 16 to 21."""

from __future__ import annotations

from mkold.check import Case, Claim
from mkold.check.claims import _more as more

RADIX = "arch/powerpc/kvm/book3s_64_mmu_radix.c"

CLAIMS = [
    Claim(
        "16-tables-and-frames-published",
        "Neither a walker nor the hardware ever reads a table or a frame that was not filled "
        "yet, and no mapping is lost where two faults meet.",
        f"{RADIX} (kvmppc_create_pte)",
        (
            Case("walk while tables are linked in", more.CREATE),
            Case("hardware while tables are linked in", more.HW_CREATE),
            Case("guest while a new frame is mapped", more.NEW_FRAME),
            Case("two faults at one missing table", more.TWO_FAULTS),
        ),
    ),
    Claim(
        "17-tables-and-frames-taken",
        "A table that gives way to a huge leaf is not freed under a walker, and a frame that "
        "is taken away holds the guest's last write.",
        f"{RADIX} (kvmppc_unmap_free_pte), virt/kvm/kvm_main.c",
        (
            Case("walk while a table is collapsed", more.COLLAPSE),
            Case("guest writes while its page is swapped out", more.SWAP_OUT),
        ),
    ),
    Claim(
        "18-dirty-log",
        "No write of the guest escapes both the dirty log and the copy.",
        f"{RADIX} (kvmppc_hv_get_dirty_log_radix)",
        (
            Case("guest writes while the log is fetched", more.DIRTY_LOG),
            Case("unmap while the log is fetched", more.HARVEST),
        ),
    ),
    Claim(
        "19-notifier-life",
        "No callback runs on a VM that is not written yet or is gone.",
        "mm/mmu_notifier.c",
        (
            Case("aging while a VM subscribes", more.SUBSCRIBE),
            Case("aging while a VM unsubscribes", more.UNSUBSCRIBE),
        ),
    ),
    Claim(
        "20-vcpus-stopped",
        "No vCPU walks the tree that a mode switch frees.",
        "arch/powerpc/kvm/book3s_hv.c (kvmhv_configure_mmu)",
        (Case("guest while the mode is switched", more.STOP),),
    ),
    Claim(
        "21-the-range-and-no-more",
        "A pass clears every young page of its range and none outside it.",
        "Documentation of mmu_notifier_test_clear_young (this project's mm/mmu_notifier.py)",
        (Case("a range that ends within tables", more.RANGE),),
    ),
]
