"""x86: the TDP MMU (EPT with accessed and dirty bits, EPT without, NPT) and the shadow MMU.

``asm``  the VM, the vCPU, a page table's book   ``mmu``     entries, memslots, flushes
``tdp``  the TDP MMU                             ``shadow``  the shadow MMU
``hw``   the hardware's walk                     ``fault``, ``fast_fault``  page faults
``x86``  the hooks                               ``audit``   the books of a stopped VM
"""
