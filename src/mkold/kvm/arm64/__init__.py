"""arm64: guest memory is mapped by KVM's stage-2 page tables (``machine`` lists what there is).

``pgtable/``  the tables: geometry, entries, walks, and what is done to them
``mmu.py``    faults, the host's notifiers, the dirty log
``hw.py``     the MMU's walk
"""
