"""Structs of KVM on x86."""
