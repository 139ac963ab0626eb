"""x86: the TDP MMU (EPT with accessed and dirty bits, EPT without, NPT) and the shadow MMU.

``spte``   entries                ``asm``   the VM, the vCPU, a page table's book
``tdp``    the TDP MMU            ``shadow``  the shadow MMU
"""
