"""KVM, in kernel Python. Generic files here; one folder an architecture (``powerpc``).

Units: guest pages (``gfn``), host pages (``hva``) and frames (``pfn``) are numbers of
pages; ranges are half-open; ``write`` and ``clear`` are 0 or 1; structs live in zeroed
words that the caller provides.

To build a VM (one thread, before anybody runs)::

    mmu_notifier_subscriptions_init(mm, subscriptions)    mkold.mm.mmu_notifier
    kvm_create_vm(kvm, mm) -> 0 or 1 (no memory)          mkold.kvm.main
    kvm_add_memslot(kvm, base_gfn, n_pages, hva) -> slot  mkold.kvm.memslots
    kvm_vcpu_init(kvm, vcpu, tlb)                         mkold.kvm.vcpu

``tlb`` has ``TlbEntry.size << TLB_BITS`` words. To run a vCPU, on its own thread::

    kvm_vcpu_load(kvm, vcpu) -> 0, or 1 (stopping)        enter guest mode
    kvm_vcpu_access(kvm, vcpu, gfn, write) -> pfn         or KVM_PFN_ERR, then out of
                                                          guest mode
    kvm_vcpu_put(vcpu)                                    leave guest mode

The frame that an access returned may be used until the next call for that vCPU. Between
load and put a vCPU must keep calling: flushes wait for it (``mkold.kvm.tlb``).

To change modes, from any thread that is no vCPU in guest mode: ``kvmhv_configure_mmu(kvm,
radix)`` (``mkold.kvm.powerpc.switch``); in hash mode the vCPUs wait. To end: set
``kvm.stop``, join the vCPUs, ``kvm_destroy_vm(kvm)``.

A table that gives way to a large leaf is freed by ``call_rcu`` on the CPU that took the
fault; faults run such callbacks when many are queued (``rcu_core`` in ``mkold.sync.rcu``).
Who maps large leaves by ``kvmppc_create_pte`` alone calls it, or ``rcu_do_batch()``, now
and then, outside guest mode and locks. With base pages alone there is none.

The host calls ``mkold.mm.mmu_notifier``; ``notifier`` has the other ends. ``hva_to_pfn``
(``mkold.mm.fault.memory``) is what KVM asks of the host.

``types``     structs             ``main``   a VM's birth and death
``notifier``  the callbacks of the MMU notifiers: fast path or slow path
``memslots``  gfn and hva         ``retry``  the invalidation counter that faults check
``tlb``       the flush protocol  ``vcpu``   guest accesses
``mmu_lock``  the lock, with its waiting time measured
"""
