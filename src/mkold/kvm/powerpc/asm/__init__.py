"""What all of powerpc's files share: structs, tables of operations, prototypes.

``kvm_host``       the VM and the vCPU
``kvm_book3s_64``  what ``radix`` asks of ``nested``
"""
