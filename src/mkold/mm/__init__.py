"""The host's memory, in kernel Python: frames, slabs, page table, swap, notifiers, MGLRU.

``mm_types``      the structs every other file shares
``page_alloc``    frames
``slab``          small objects
``frames``        the guest's budget of frames
``pgtable``       the host's own page table
``contpte``       blocks of its entries that count as one (arm64)
``swap``          swap entries and the swap area
``rmap``          from a folio to the page-table entry that maps it
``mmu_notifier``  who else maps this memory, and must hear of changes
``mglru``         the multi-generational LRU
``fault``         page faults, and giving pages up
"""
