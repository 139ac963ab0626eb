"""powerpc Book3S HV.

``switch``  the VM's mode: radix tree or hash table, and from one to the other
``radix``   the partition-scoped tree
"""
