"""Claims about KVM on the powerpc radix tree.

``small_vm`` builds the machine that they start from, ``nested_vm`` one with guests of its own,
``guest`` is what runs in it; the others hold claims, by topic.
"""
