"""The first words of every memory: what native code and the locks keep for themselves.

Word 0 is NULL, and the first ``NULL_WORDS`` are never valid, so that a field reached
through NULL is seen. Every datum that one CPU writes often has a cache line (8 words) of
its own. It starts as zero, but for what ``start`` says.

The rings of ``call_rcu`` lie after the last word that a user may name, so a memory has more
words than were asked for.
"""

from __future__ import annotations

LINE_WORDS = 8
MAX_CPUS = 64

NULL_WORDS = 64

# Not zero: every thread leaves native code at its next cpu_relax().
STOP = 64
# How many words there are (read-only after the start).
N_WORDS = 72  # for the user
N_WORDS_TOTAL = 73  # with the rings

# The first thing that went wrong, and how often: see native/diagnostics.py.
BUG_SITE = 80  # site number + 1
BUG_COUNT = 81
BUG_CPU = 82
BUG_VALUE = 83
WARN_SITE = 88
WARN_COUNT = 89
WARN_CPU = 90

# RCU: the grace period's phase, its lock, and a line for each CPU.
RCU_GP = 128
RCU_GP_LOCK = 136
RCU_CPU = 192

# Frames and slabs: the words that are left, the zone, and a line for each CPU.
MEMBLOCK = 752
PAGE_ALLOC = 768
PAGE_ALLOC_CPU = 1024

# What the kvm module and its architecture keep for all VMs: tables of operations.
KVM_MODULE = 1536
KVM_ARCH_MODULE = 1600

# Locals whose address is taken lie on their CPU's stack; its first word says how many words
# are in use.
STACKS = 4096
STACK_WORDS = 512

BOOT_WORDS = STACKS + MAX_CPUS * STACK_WORDS

# call_rcu: a ring of (function, word) pairs for each CPU.
RCU_RING_ENTRIES = 8192
RCU_RING_WORDS = 2 * RCU_RING_ENTRIES
RINGS_WORDS = MAX_CPUS * RCU_RING_WORDS
