"""Claims about KVM on the powerpc radix tree.

``small_vm`` builds the machine that they start from, ``guest`` is what runs in it; the
others hold claims, by topic.
"""
