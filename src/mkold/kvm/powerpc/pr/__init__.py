"""PR: a VM run without the hypervisor's mode, each vCPU with shadow entries of its own.

``shadow``  the entries, by vCPU    ``mmu``  faults, the walk, unmapping, and no aging
"""
