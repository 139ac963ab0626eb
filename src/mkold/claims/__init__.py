"""The claims that ship, by architecture and topic: each module has a list ``CLAIMS``.

``generic``  what holds on any architecture: mkold's own locks, the mm's notifiers
``powerpc``  KVM on the powerpc radix tree
"""
