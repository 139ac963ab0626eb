"""What all of powerpc's files share: structs and tables of operations.

``kvm_host``  the VM
"""
