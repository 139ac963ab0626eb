"""The shadow MMU: page tables that KVM keeps in step with others, found again by a reverse map.

Source: arch/x86/kvm/mmu/mmu.c.
"""
