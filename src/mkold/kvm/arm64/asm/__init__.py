"""Structs of arm64's KVM, by the kernel's header names."""
