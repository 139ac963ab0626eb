"""Claims about KVM on x86: the TDP MMU, and the shadow MMU.

``shadow_vm`` builds the machine that claims about the shadow MMU start from.
"""
