"""Guests of the guest: L0 hosts L1, L1 hosts L2.

L1 keeps a table of L2's memory in memory of its own; no hardware walks it. L0 keeps a shadow
tree for each L2, from L2's pages straight to the host's frames, and the hardware walks that.

``rmap``       by page of L1: which shadow entries map it
``guest``      an L2 guest as L0 knows it, and its life
``shadow``     its tree: looking an entry up, taking one away, all of it
``spread``     what happens to an entry of L1's tree, done to the shadow entries of its page
``age``        aging without the lock, which is a choice (``NESTED_LOCKLESS``)
``l1_memory``  reading what L1 wrote: its partition table, its table of L2's memory
``create``     putting a shadow entry in
``fault``      L2's page faults
``tlbie``      L1 takes translations of its guests away
``enter``      a vCPU goes into L2 and comes back; the VM's switch for all of this
``audit``      the books, when nobody runs
``l1``         what an L1 hypervisor does to have a guest

``radix`` calls ``spread`` (by ``asm.kvm_book3s_64``) wherever it takes an entry of L1 away or
clears a bit of it.
"""
