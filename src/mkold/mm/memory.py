"""The host's page table and its page faults (being written).

``hva_to_pfn(mm, hva_page, write) -> pfn, writable``: two results. The frame that backs
``hva_page``, faulted in if need be (zero page, fresh frame, copy on write, swap-in), and
whether a secondary mapping may let the guest write (if 0, map it read-only: a later
write must come back here). ``pfn >= PFN_ERR``: ``PFN_ERR_FAULT`` outside the VMA,
``PFN_ERR_RETRY`` no frame now, ask again. Call with no lock held and outside guest mode:
it may reclaim, which calls ``mmu_notifier_invalidate_range_start/end`` (copy on write
does too, so the caller's retry counter moves). As in KVM: sample the counter, smp_rmb,
``hva_to_pfn``, take mmu_lock, check the counter, map.
"""
