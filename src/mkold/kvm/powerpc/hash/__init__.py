"""The hash table (HPT) of a VM in hash mode.

Data flows one way: what an entry is (``hpte``), the locks (``hvlock``, ``rmap``), the table
(``vmalloc``, ``hpt``), what changes it for the guest (``hcall_enter``, ``hcall_change``), for
the host (``fault``, ``unmap``, ``age``, ``dirty``), and who uses it: the hardware (``hw``),
the guest's own kernel (``guest``), a vCPU (``vcpu``).
"""
